// Programs that know nothing of an emulator: real host names, every check of the clients on.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import {
  ClientAssertionCredential,
  ClientSecretCredential,
  DefaultAzureCredential,
  WorkloadIdentityCredential,
} from "@azure/identity";
import { SecretClient } from "@azure/keyvault-secrets";
import { BlobServiceClient } from "@azure/storage-blob";
import { readFile } from "node:fs/promises";
import { call } from "./admin.js";

const vault = "https://shop.vault.azure.net";
const account = "https://devaccount.blob.core.windows.net";
const withSecret = "44444444-4444-4444-8444-444444444444";
const { AZURE_CLIENT_ID: clientId, AZURE_TENANT_ID: tenantId } = process.env;
const noRetry = { retryOptions: { maxRetries: 0, maxTries: 1 } };

beforeEach(() => call("POST", "/reset"));

test("the default chain reads a seeded secret and blob", async () => {
  const credential = new DefaultAzureCredential();
  assert.equal((await new SecretClient(vault, credential).getSecret("DB-Password")).value, "correct horse");
  const blob = new BlobServiceClient(account, credential).getContainerClient("invoices").getBlobClient("1.txt");
  assert.equal((await blob.downloadToBuffer()).toString(), "42");
});

test("secrets round trip", async () => {
  const client = new SecretClient(vault, new WorkloadIdentityCredential());
  const first = await client.setSecret("api-key", "one", { tags: { a: "b" } });
  await client.setSecret("api-key", "two");
  assert.equal((await client.getSecret("api-key", { version: first.properties.version })).value, "one");
  const names = [];
  for await (const secret of client.listPropertiesOfSecrets()) {
    names.push(secret.name);
  }
  assert.deepEqual(names, ["api-key", "db-password"]);
});

test("blobs round trip", async () => {
  const container = new BlobServiceClient(account, new WorkloadIdentityCredential()).getContainerClient("reports");
  await container.create();
  const blob = container.getBlockBlobClient("a/1.txt");
  await blob.uploadData(Buffer.alloc(5_000_000, "x"), { blockSize: 1_000_000, maxSingleShotSize: 1_000_000, metadata: { kind: "test" } });
  assert.equal((await blob.downloadToBuffer()).length, 5_000_000);
  await blob.setAccessTier("Cool");
  await blob.setMetadata({ kind: "other" });
  await blob.setHTTPHeaders({ blobContentType: "text/plain" });
  const properties = await blob.getProperties();
  assert.equal(properties.accessTier, "Cool");
  assert.equal(properties.contentType, "text/plain");
  assert.deepEqual(properties.metadata, { kind: "other" });
  assert.equal((await blob.getBlockList("committed")).committedBlocks.length, 5);
  const copy = await container.getBlobClient("copy.txt").beginCopyFromURL(blob.url);
  assert.equal((await copy.pollUntilDone()).copyStatus, "success");
  const names = [];
  for await (const item of container.listBlobsFlat()) {
    names.push(item.name);
  }
  assert.deepEqual(names, ["a/1.txt", "copy.txt"]);
  await container.delete();
});

test("a user delegation key is issued, and its SAS is refused by name", async () => {
  const service = new BlobServiceClient(account, new WorkloadIdentityCredential());
  const day = 24 * 60 * 60 * 1000;
  const key = await service.getUserDelegationKey(new Date(), new Date(Date.now() + day));
  assert.equal(key.signedTenantId, tenantId);
  const withSas = new BlobServiceClient(`${account}?sv=2026-04-06&sig=c2ln`);
  await assert.rejects(withSas.getContainerClient("invoices").getProperties(), { statusCode: 501 });
});

test("a client secret works, with instance discovery", async () => {
  const credential = new ClientSecretCredential(tenantId, withSecret, "a secret of the tests");
  assert.equal((await new SecretClient(vault, credential).getSecret("db-password")).value, "correct horse");
  const wrong = new ClientSecretCredential(tenantId, withSecret, "another");
  await assert.rejects(wrong.getToken("https://vault.azure.net/.default"), /AADSTS7000215/);
});

test("an assertion of the program's own works", async () => {
  const credential = new ClientAssertionCredential(tenantId, clientId, () =>
    readFile(process.env.AZURE_FEDERATED_TOKEN_FILE, "ascii"),
  );
  assert.ok((await credential.getToken("https://management.azure.com/.default")).token);
});

test("a wrong subject is named", async () => {
  const credential = new WorkloadIdentityCredential({ clientId: "44444444-4444-4444-8444-4444444444ff" });
  await assert.rejects(credential.getToken("https://vault.azure.net/.default"), /AADSTS700213.*shop:orders/);
});

test("a missing role is 403", async () => {
  await call("DELETE", `/identities/${clientId}/roles`);
  const credential = new WorkloadIdentityCredential();
  const container = new BlobServiceClient(account, credential, noRetry).getContainerClient("invoices");
  await assert.rejects(container.getProperties(), { statusCode: 403, code: "AuthorizationPermissionMismatch" });
  await assert.rejects(new SecretClient(vault, credential).getSecret("db-password"), { statusCode: 403 });
});

test("an outage ends", async () => {
  await call("POST", "/entra/stop");
  const credential = new WorkloadIdentityCredential(noRetry);
  await assert.rejects(credential.getToken("https://vault.azure.net/.default"));
  await call("POST", "/entra/start");
  // MSAL keeps a failed response for a minute; a new credential asks.
  const next = new WorkloadIdentityCredential();
  assert.ok((await next.getToken("https://vault.azure.net/.default")).token);
});

test("a revoked token is replaced after the claims challenge", async () => {
  const client = new SecretClient(vault, new WorkloadIdentityCredential());
  await client.getSecret("db-password");
  await call("DELETE", "/requests");
  await call("POST", `/identities/${clientId}/revoke`);
  assert.equal((await client.getSecret("db-password")).value, "correct horse");
  assert.equal((await call("GET", "/requests?endpoint=key-vault&status=401")).count, 1);
});
