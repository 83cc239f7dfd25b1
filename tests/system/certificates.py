"""Certificates of a test's own authorities, by openssl."""
from common import run


def authority(folder, name):
    """The path of its certificate."""
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}",
        "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt",
        "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
    return folder / f"{name}.crt"


def certificate(folder, name, signer, names="", client=False, days=2):
    """Certificate and key for `names`, such as `DNS:localhost,IP:127.0.0.1`."""
    key, request, out, more = (folder / f"{name}.{s}" for s in ("key", "csr", "crt", "ext"))
    run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
    more.write_text((f"subjectAltName={names}\n" if names else "") + f"extendedKeyUsage={'clientAuth' if client else 'serverAuth'}\n")
    run("openssl", "x509", "-req", "-in", request, "-CA", folder / f"{signer}.crt", "-CAkey", folder / f"{signer}.key", "-CAcreateserial",
        "-days", str(days), "-extfile", more, "-out", out)
    return out, key
