// Managed identities, on a virtual machine and in App Service.
import assert from "node:assert/strict";
import { test } from "node:test";
import { DefaultAzureCredential, ManagedIdentityCredential } from "@azure/identity";
import { SecretClient } from "@azure/keyvault-secrets";

const clientId = "33333333-3333-4333-8333-333333333333";
const credentials = {
  "the identity by its client ID": () => new ManagedIdentityCredential({ clientId }),
  "the default chain": () => new DefaultAzureCredential({ managedIdentityClientId: clientId }),
};

for (const [name, create] of Object.entries(credentials)) {
  test(`${name} reads a secret`, async () => {
    const client = new SecretClient("https://shop.vault.azure.net", create());
    assert.equal((await client.getSecret("db-password")).value, "correct horse");
  });
}
