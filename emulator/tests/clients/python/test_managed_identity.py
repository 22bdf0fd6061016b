"""Managed identities, on a virtual machine and in App Service."""

from azure.identity import DefaultAzureCredential, ManagedIdentityCredential
from azure.keyvault.secrets import SecretClient
import pytest

VAULT = "https://shop.vault.azure.net"


@pytest.mark.parametrize(
    "credential",
    [
        lambda: ManagedIdentityCredential(client_id="33333333-3333-4333-8333-333333333333"),
        lambda: DefaultAzureCredential(managed_identity_client_id="33333333-3333-4333-8333-333333333333"),
    ],
)
def test_managed_identity_reads_a_secret(admin, credential):
    assert SecretClient(VAULT, credential()).get_secret("db-password").value == "correct horse"
