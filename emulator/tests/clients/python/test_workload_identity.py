"""Programs that know nothing of an emulator: real host names, every check of the clients on."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import msal
import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.identity import ClientSecretCredential, DefaultAzureCredential, WorkloadIdentityCredential
from azure.keyvault.secrets import SecretClient
from azure.storage.blob import BlobServiceClient

ROOT = Path(__file__).parents[4]
VAULT = "https://shop.vault.azure.net"
ACCOUNT = "https://devaccount.blob.core.windows.net"
READER = "22222222-2222-4222-8222-0000000000aa"
WRONG_SUBJECT = "44444444-4444-4444-8444-4444444444ff"
WITH_SECRET = "44444444-4444-4444-8444-444444444444"


def blob(credential, name="1.txt"):
    account = BlobServiceClient(ACCOUNT, credential, retry_total=0)
    return account.get_blob_client("invoices", name)


def test_default_chain_reads_a_seeded_secret_and_blob(admin):
    credential = DefaultAzureCredential()
    assert SecretClient(VAULT, credential).get_secret("DB-Password").value == "correct horse"
    assert blob(credential).download_blob().readall() == b"42"


def test_secrets_round_trip(admin):
    client = SecretClient(VAULT, WorkloadIdentityCredential())
    version = client.set_secret("api-key", "one", tags={"a": "b"}).properties.version
    client.set_secret("api-key", "two")
    assert client.get_secret("api-key", version).value == "one"
    assert {"api-key", "db-password"} <= {secret.name for secret in client.list_properties_of_secrets()}
    client.begin_delete_secret("api-key").wait()
    assert client.get_deleted_secret("api-key").name == "api-key"
    client.purge_deleted_secret("api-key")


def test_blobs_round_trip(admin):
    account = BlobServiceClient(ACCOUNT, WorkloadIdentityCredential())
    container = account.create_container("reports")
    container.upload_blob("a/1.txt", b"x" * 5_000_000, metadata={"kind": "test"}, max_concurrency=2)
    client = container.get_blob_client("a/1.txt")
    assert client.get_blob_properties().metadata == {"kind": "test"}
    client.set_standard_blob_tier("Cool")
    client.set_blob_metadata({"kind": "other"})
    assert client.get_blob_properties().blob_tier == "Cool"
    copy = container.get_blob_client("copy.txt")
    copy.start_copy_from_url(client.url)
    assert len(copy.download_blob().readall()) == 5_000_000
    assert [item.name for item in container.list_blobs()] == ["a/1.txt", "copy.txt"]
    container.delete_container()


def test_client_secret_with_instance_discovery(admin):
    secret = "a secret of the tests"
    credential = ClientSecretCredential(os.environ["AZURE_TENANT_ID"], WITH_SECRET, secret)
    assert SecretClient(VAULT, credential).get_secret("db-password").value == "correct horse"
    wrong = ClientSecretCredential(os.environ["AZURE_TENANT_ID"], WITH_SECRET, "another")
    with pytest.raises(ClientAuthenticationError, match="AADSTS7000215"):
        wrong.get_token("https://vault.azure.net/.default")


def test_msal_with_client_secret_and_with_assertion(admin):
    authority = f"https://login.microsoftonline.com/{os.environ['AZURE_TENANT_ID']}"
    app = msal.ConfidentialClientApplication(WITH_SECRET, "a secret of the tests", authority)
    assert "access_token" in app.acquire_token_for_client(["https://graph.microsoft.com/.default"])
    def assertion():
        with open(os.environ["AZURE_FEDERATED_TOKEN_FILE"], encoding="ascii") as file:
            return file.read()

    app = msal.ConfidentialClientApplication(os.environ["AZURE_CLIENT_ID"], {"client_assertion": assertion}, authority)
    assert "access_token" in app.acquire_token_for_client(["https://management.azure.com/.default"])


def test_wrong_subject_is_named(admin):
    with pytest.raises(ClientAuthenticationError, match="AADSTS700213: .*system:serviceaccount:shop:orders"):
        WorkloadIdentityCredential(client_id=WRONG_SUBJECT).get_token("https://vault.azure.net/.default")
    assert admin.call("GET", "/requests?aadsts=700213")["count"] >= 1


def test_missing_role_is_403(admin):
    admin.call("DELETE", f"/identities/{os.environ['AZURE_CLIENT_ID']}/roles")
    credential = WorkloadIdentityCredential()
    with pytest.raises(HttpResponseError) as error:
        blob(credential).download_blob()
    assert error.value.error_code == "AuthorizationPermissionMismatch"
    with pytest.raises(HttpResponseError, match="Caller is not authorized"):
        SecretClient(VAULT, credential).get_secret("db-password")
    admin.post(
        f"/identities/{os.environ['AZURE_CLIENT_ID']}/roles",
        {"role": "Storage Blob Data Reader", "container": "invoices"},
    )
    assert blob(credential).download_blob().readall() == b"42"


def test_outage_ends(admin):
    credential = WorkloadIdentityCredential(retry_total=0)
    admin.post("/entra/stop")
    with pytest.raises(ClientAuthenticationError, match="AADSTS90033"):
        credential.get_token("https://vault.azure.net/.default")
    admin.post("/entra/start")
    assert credential.get_token("https://vault.azure.net/.default").token


def test_revoked_token_is_replaced_after_the_claims_challenge(admin):
    client = SecretClient(VAULT, WorkloadIdentityCredential())
    client.get_secret("db-password")
    admin.call("DELETE", "/requests")
    admin.post(f"/identities/{os.environ['AZURE_CLIENT_ID']}/revoke")
    assert client.get_secret("db-password").value == "correct horse"
    refused = admin.call("GET", "/requests?endpoint=key-vault&status=401")
    assert refused["count"] == 1


def test_expired_token_is_refused(admin):
    credential = WorkloadIdentityCredential()
    client = blob(credential)
    assert client.download_blob().readall() == b"42"
    admin.post("/clock/advance", {"by": "2h"})
    with pytest.raises(ClientAuthenticationError) as error:
        client.download_blob()
    assert error.value.status_code == 401


def test_token_is_refreshed_if_the_clock_of_the_client_moves_too(admin, monkeypatch):
    client = SecretClient(VAULT, WorkloadIdentityCredential())
    client.get_secret("db-password")
    admin.post("/clock/advance", {"by": "61m"})
    admin.call("DELETE", "/requests")
    real_time = time.time
    monkeypatch.setattr(time, "time", lambda: real_time() + 61 * 60)
    assert client.get_secret("db-password").value == "correct horse"
    assert admin.call("GET", "/requests?endpoint=entra&status=200")["count"] >= 1
    assert admin.call("GET", "/requests?status=401")["count"] == 0


def test_new_credential_works_after_the_clock_has_moved(admin):
    old = WorkloadIdentityCredential()
    SecretClient(VAULT, old).get_secret("db-password")
    admin.post("/clock/advance", {"by": "61m"})
    with pytest.raises(ClientAuthenticationError, match="IDX10223"):
        SecretClient(VAULT, old).get_secret("db-password")
    assert SecretClient(VAULT, WorkloadIdentityCredential()).get_secret("db-password").value == "correct horse"


def test_example_of_the_readme_passes(tmp_path):
    readme = (ROOT / "emulator/README.md").read_text(encoding="utf-8")
    for language, name in [("yaml", "azure.yaml"), ("python", "test_orders.py")]:
        (example,) = re.findall(rf"^```{language}\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
        (tmp_path / name).write_text(example, encoding="utf-8")
    emulator = [ROOT / "target/debug/entra-workload", "emulator", "run", "--seed", "azure.yaml", "--"]
    pytest_of_python = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_orders.py"]
    finished = subprocess.run(emulator + pytest_of_python, cwd=tmp_path, capture_output=True, text=True)
    assert finished.returncode == 0 and "5 passed" in finished.stdout, finished.stdout + finished.stderr
