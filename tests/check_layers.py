#!/usr/bin/python3
"""Holds the source to the house's rules (docs/architecture.md): who may include whom, and which
folders may see DPDK, IPsec-MB and libsodium. Prints every breach with its line; exit 1 if any."""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()

MAY_INCLUDE = {
    "base": {"base"},
    "wire": {"wire", "base"},
    "crypto": {"crypto", "base"},
    "audit": {"audit", "base", "crypto", "wire/call.h"},
    "fabric": {"fabric", "base", "wire", "crypto"},
    "vault": {"vault", "base", "crypto", "wire/credential.h"},
    "host": {"host", "base"},
    "http": {"http", "base"},
    "oauth2": {"oauth2", "http", "base", "wire", "crypto"},
    # Of the audit log, what its records look like.
    "dataplane": {"dataplane", "fabric", "base", "wire", "crypto", "audit/record.h"},
    "control": {"control", "oauth2", "audit", "vault", "fabric", "http", "base", "wire", "crypto"},
    "relayd": {"relayd", "dataplane", "control", "oauth2", "audit", "vault", "fabric", "http", "base", "wire", "crypto"},
    # The replay window is a header of fabric without DPDK: the agent keeps the same one.
    "agent": {"agent", "http", "base", "wire", "crypto", "fabric/replay_window.h"},
    # Of control and the dataplane, what works where no relay runs: a store, a configuration, what it takes.
    "cli": {"cli", "audit", "host", "http", "base", "control/config.h", "control/capacity.h", "dataplane/memory_need.h", "fabric/topology.h", "vault/master_key.h", "crypto/text.h", "crypto/secret.h", "crypto/secret_buffer.h", "crypto/secret_file.h", "wire/credential.h",
            "control/store_restore.h"},
    # Of the agent, what makes a session; of fabric, headers of plain values.
    # Of the agent, where its daemon is found.
    "client": {"client", "http", "base", "agent/state_folder.h", "crypto/text.h"},
    "pktgen": {"pktgen", "base", "wire", "crypto", "agent/handshake.h", "agent/session.h", "agent/edges.h",
               "fabric/replay_window.h", "fabric/topology.h"},
    # Of the agent, how a DATA packet is sealed.
    "pcap": {"pcap", "base", "wire", "crypto", "agent/data_seal.h"},
}
LIBRARIES = [
    (re.compile(r"^rte_"), {"src/dataplane", "src/fabric/rcu.h", "src/fabric/mailbox.cpp", "src/fabric/buffer.h", "src/pktgen", "tests/packet", "bench"}, "DPDK"),
    (re.compile(r"^intel-ipsec-mb"), {"src/crypto"}, "IPsec-MB"),
    (re.compile(r"^sodium"), {"src/crypto", "tests/reference", "tests/unit"}, "libsodium"),
    (re.compile(r"^pcap/pcap\.h"), {"src/pktgen", "src/pcap"}, "libpcap"),
    (re.compile(r"^tss2/"), {"src/vault"}, "tpm2-tss"),
    (re.compile(r"^curl/"), {"src/http/curl.h"}, "libcurl"),
    (re.compile(r"^nghttp2/"), {"src/http/curl_memory.cpp"}, "nghttp2"),
    (re.compile(r"^sqlite3"), {"src/control", "tests/unit"}, "SQLite"),
    (re.compile(r"^prometheus/"), {"src/control"}, "prometheus-cpp"),
]
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def breaches(path):
    where = path.relative_to(ROOT).as_posix()
    folder = where.split("/")[1] if where.startswith("src/") else None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        quoted, name = match.group(1) == '"', match.group(2)
        if quoted and folder and "/" in name:
            target = name.split("/")[0]
            if target in MAY_INCLUDE and not {target, name} & MAY_INCLUDE[folder]:
                yield f"{where}:{number}: {folder} may not include {name}"
        for pattern, places, library in LIBRARIES:
            if pattern.match(name) and not any(where.startswith(p) for p in places):
                yield f"{where}:{number}: {library} may only be included in {', '.join(sorted(places))}"


def main():
    found = []
    files = [p for top in ("src", "tests", "bench") for p in (ROOT / top).rglob("*")
             if p.suffix in (".h", ".cpp")]
    for path in sorted(files):
        found += breaches(path)
    print("\n".join(found) or f"{len(files)} files keep to the layers")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
