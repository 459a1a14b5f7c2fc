"""AWS Certificate Manager as boto3 and the AWS CLI see it: certificates that openssl made, and those made here."""

import shutil
import subprocess

import botocore.exceptions
import pytest


@pytest.fixture
def acm(roadstead):
    return roadstead.client("acm")


def fails(call, **request):
    with pytest.raises(botocore.exceptions.ClientError) as error:
        call(**request)
    return error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]


def openssl(*arguments, **options):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, **options)


def self_signed(folder, name, *key):
    """A certificate and key for `name`, as bytes."""
    key = key or ("rsa:2048",)
    openssl(
        "req", "-x509", "-newkey", *key, "-nodes", "-days", "30", "-subj", f"/O=Example/CN={name}",
        "-addext", f"subjectAltName=DNS:{name},DNS:www.{name}", "-keyout", folder / "key.pem", "-out", folder / "cert.pem",
    )
    return (folder / "cert.pem").read_bytes(), (folder / "key.pem").read_bytes()


def signed_by_authority(folder, name):
    """A certificate, its key and the authority's certificate, as bytes."""
    (folder / "extensions").write_text(f"subjectAltName=DNS:{name}\n")
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=authority", "-keyout", folder / "ca.key", "-out", folder / "ca.pem")
    openssl("req", "-newkey", "rsa:3072", "-nodes", "-subj", f"/CN={name}", "-keyout", folder / "leaf.key", "-out", folder / "leaf.csr")
    openssl("x509", "-req", "-in", folder / "leaf.csr", "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-CAcreateserial", "-days", "20", "-extfile", folder / "extensions", "-out", folder / "leaf.pem")
    return tuple((folder / file).read_bytes() for file in ("leaf.pem", "leaf.key", "ca.pem"))


def test_an_imported_certificate(acm, tmp_path):
    certificate, key = self_signed(tmp_path, "example.com")
    arn = acm.import_certificate(Certificate=certificate, PrivateKey=key, Tags=[{"Key": "a", "Value": "1"}])["CertificateArn"]
    told = acm.describe_certificate(CertificateArn=arn)["Certificate"]
    assert (told["Type"], told["Status"], told["DomainName"]) == ("IMPORTED", "ISSUED", "example.com")
    assert told["SubjectAlternativeNames"] == ["example.com", "www.example.com"]
    assert (told["KeyAlgorithm"], told["SignatureAlgorithm"], told["Issuer"]) == ("RSA_2048", "SHA256WITHRSA", "Example")
    assert told["InUseBy"] == [] and 28 <= (told["NotAfter"] - told["NotBefore"]).days <= 30
    text = acm.get_certificate(CertificateArn=arn)
    assert text["Certificate"].split() == certificate.decode().split() and "CertificateChain" not in text
    assert acm.list_tags_for_certificate(CertificateArn=arn)["Tags"] == [{"Key": "a", "Value": "1"}]
    acm.add_tags_to_certificate(CertificateArn=arn, Tags=[{"Key": "b", "Value": "2"}])
    acm.remove_tags_from_certificate(CertificateArn=arn, Tags=[{"Key": "a"}])
    assert acm.list_tags_for_certificate(CertificateArn=arn)["Tags"] == [{"Key": "b", "Value": "2"}]
    other, other_key = self_signed(tmp_path, "other.example.com", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    assert acm.import_certificate(CertificateArn=arn, Certificate=other, PrivateKey=other_key)["CertificateArn"] == arn
    told = acm.describe_certificate(CertificateArn=arn)["Certificate"]
    assert (told["DomainName"], told["KeyAlgorithm"]) == ("other.example.com", "EC_prime256v1")
    acm.delete_certificate(CertificateArn=arn)
    assert fails(acm.describe_certificate, CertificateArn=arn)[0] == "ResourceNotFoundException"


def test_a_chain(acm, tmp_path):
    leaf, key, authority = signed_by_authority(tmp_path, "example.org")
    arn = acm.import_certificate(Certificate=leaf, PrivateKey=key, CertificateChain=authority)["CertificateArn"]
    assert acm.get_certificate(CertificateArn=arn)["CertificateChain"].split() == authority.decode().split()
    assert acm.describe_certificate(CertificateArn=arn)["Certificate"]["KeyAlgorithm"] == "RSA_3072"
    acm.delete_certificate(CertificateArn=arn)
    code, message = fails(acm.import_certificate, Certificate=leaf, PrivateKey=key)
    assert code == "ValidationException" and "valid self signed" in message
    stranger, _ = self_signed(tmp_path, "stranger.example.com")
    code, message = fails(acm.import_certificate, Certificate=leaf, PrivateKey=key, CertificateChain=stranger)
    assert message == "Could not validate the certificate with the certificate chain."


def test_keys_are_checked_and_never_told(acm, tmp_path):
    certificate, key = self_signed(tmp_path, "example.com")
    _, other = self_signed(tmp_path, "example.com")
    for request in (
        {"Certificate": certificate, "PrivateKey": other},
        {"Certificate": certificate, "PrivateKey": b"secret of mine"},
        {"Certificate": b"x", "PrivateKey": key},
        {"Certificate": certificate + certificate, "PrivateKey": key},
    ):
        code, message = fails(acm.import_certificate, **request)
        assert code == "ValidationException" and "PRIVATE" not in message and "secret" not in message
    weak, weak_key = self_signed(tmp_path, "example.com", "rsa:1024")
    assert fails(acm.import_certificate, Certificate=weak, PrivateKey=weak_key)[0] == "InvalidParameterException"


def test_a_requested_certificate_is_issued_at_once(acm):
    request = {"DomainName": "example.net", "SubjectAlternativeNames": ["*.example.net"], "ValidationMethod": "DNS"}
    arn = acm.request_certificate(**request, IdempotencyToken="once")["CertificateArn"]
    assert acm.request_certificate(**request, IdempotencyToken="once")["CertificateArn"] == arn
    told = acm.describe_certificate(CertificateArn=arn)["Certificate"]
    assert (told["Status"], told["Type"], told["Issuer"]) == ("ISSUED", "AMAZON_ISSUED", "Roadstead")
    assert all(one["ValidationStatus"] == "SUCCESS" for one in told["DomainValidationOptions"])
    acm.get_waiter("certificate_validated").wait(CertificateArn=arn)
    acm.update_certificate_options(CertificateArn=arn, Options={"CertificateTransparencyLoggingPreference": "DISABLED"})
    assert arn in [one["CertificateArn"] for one in acm.list_certificates(MaxItems=1000)["CertificateSummaryList"]]
    email = {"Domain": "example.net", "ValidationDomain": "example.net"}
    assert fails(acm.resend_validation_email, CertificateArn=arn, **email)[0] == "InvalidStateException"
    assert fails(acm.renew_certificate, CertificateArn=arn)[0] == "ValidationException"
    assert fails(acm.request_certificate, DomainName="a.example.net", KeyAlgorithm="RSA_2048")[0] == "InvalidParameterException"
    assert fails(acm.request_certificate, DomainName="localhost")[0] == "ValidationException"
    acm.delete_certificate(CertificateArn=arn)


def test_the_cli(roadstead, tmp_path):
    self_signed(tmp_path, "cli.example.com")
    files = ("--certificate", f"fileb://{tmp_path}/cert.pem", "--private-key", f"fileb://{tmp_path}/key.pem")
    arn = roadstead.aws("acm", "import-certificate", *files)["CertificateArn"]
    listed = roadstead.aws("acm", "list-certificates")["CertificateSummaryList"]
    assert [one["DomainName"] for one in listed if one["CertificateArn"] == arn] == ["cli.example.com"]
    roadstead.aws("acm", "delete-certificate", "--certificate-arn", arn)
