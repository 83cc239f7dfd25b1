"""What people see when something is wrong, where they look, and which reasons of packets and calls belong to it. scripts/make-docs
writes docs/troubleshooting.md from it and from the lists in the source; a reason that does not exist is an error there."""

# (what is seen, what to do first, drop reasons, reasons of calls)
SYMPTOMS = [
    ("An agent does not connect",
     "On its host: `sluice-agent doctor`. On the relay: `sluicectl counters`, and `sluicectl events --follow` while it tries. A relay does not answer whom it does not "
     "know, so silence says nothing about the network: the counters do.",
     ["bad_mac1", "hello_budget", "not_for_us", "fragment", "gso_frame", "bad_version", "malformed", "punt_full", "revoked"], []),
    ("It connects, and loses its session again and again",
     "Renewals come every 120 s and need the agent's own way to the relay. A NAT that forgets its mapping, or two daemons with one identity, look like this.",
     ["session_expired", "unknown_receiver", "roam_budget", "ping_rate", "owner_moved"], []),
    ("Messages to a peer do not arrive",
     "`sluice-agent peers` on the sender says whether there is an edge, `sluicectl edges` whether it is open, `sluicectl agents` whether the peer is connected.",
     ["no_edge", "right", "peer_offline", "outside_window", "seal_not_allowed", "mtu", "revoked", "control_stale"], []),
    ("Calls are denied",
     "The caller is told why. `sluicectl trace ID` shows one call from its trace id, decision and end; `sluicectl counters` how often each reason came.",
     ["no_call", "call_denied", "call_repeated", "accept_bad", "call_queue_full", "call_wait", "credential_room"],
     ["no_edge", "missing_scope", "capability_not_allowed", "protocol_not_allowed", "outside_window", "rate_limited", "quota_exhausted", "circuit_open",
      "expired_message", "not_yet_valid", "replayed", "duplicate_idempotency_key", "credential_unavailable", "audit_unavailable",
      "approval_required", "approval_denied", "bad_signature"]),
    ("It is slow, or packets are lost under load",
     "`sluicectl doctor`, then `sluicectl top`: a worker above 80 % needs another one beside it (`sluicectl tune`); `rx_missed` of a port that is not busy means that "
     "something else runs on its worker's core. `sluicectl latency` shows what the relay itself adds.",
     ["tx_full", "handover_full", "edge_rate", "agent_rate", "tenant_rate", "tenant_share", "control_rate", "responder_budget"], []),
    ("Somebody attacks, or a peer is broken",
     "Each of these dies before it costs more than a look, and changes nothing. Rising figures are worth an alert (config/observability/alerts.yml), not a reaction.",
     ["bad_tag", "replay", "too_old", "unexpected_type", "bad_lane", "frame_malformed", "frame_not_allowed", "frame_unknown", "bad_type", "short"], []),
    ("Nothing to worry about",
     "These are counted because every packet has a reason.",
     ["keepalive", "arp_ignored", "ndp_ignored", "icmp_ignored", "not_ip", "ip_malformed", "ip_extension", "not_udp", "runt", "stale_frame",
      "nonce_exhausted"], []),
]

BEFORE = """# Troubleshooting

Begin with `sluicectl doctor` on the relay's host and `sluice-agent doctor` on the agent's: a line for each thing that is looked at, with what
helps. What remains shows in the counters, for every packet that dies has exactly one reason:

    sluicectl counters            those that occurred, with their cure
    sluicectl counters --json | jq '.drops[] | select(.severity == "config")'

Made by scripts/make-docs from scripts/troubleshooting.py, src/fabric/drop_reason.h and src/wire/call_reason.h.

"""

AFTER = """## The relay does not start

| it says | what helps |
|---|---|
| `needs N MiB of hugepages …` | scripts/host-setup reserves them; `sluicectl tune --agents N --edges M` says how many; or lower `limits:` |
| `core N (worker) is not one that this process may use` | `cores:` against `taskset -p 1`, the unit's `AllowedCPUs`, or a container's CPU set |
| mistakes with line numbers | `sluiced --check FILE` lists all of them; `sluiced --keys` what may stand where |
| the store or the log was put back | the sentence says which; [audit.md](audit.md) |
| a port is not there | `dpdk-devbind.py --status-dev net`; vfio-pci needs an IOMMU ([operations.md](operations.md)) |

An exit code is one of [errors.md](errors.md); 3 is the configuration, 7 a resource.
"""


def page(drops, calls):
    """`drops`: {reason: (severity, text)}, `calls`: {reason: text}."""
    out = [BEFORE]
    named = set()
    for seen, first, packets, denials in SYMPTOMS:
        out.append(f"## {seen}\n\n{first}\n\n| reason | of | meaning and cure |\n|---|---|---|\n")
        for reason in packets:
            severity, text = drops[reason]
            named.add(reason)
            out.append(f"| `{reason}` | packets, {severity} | {text} |\n")
        for reason in denials:
            out.append(f"| `{reason}` | calls | {calls[reason]} |\n")
        out.append("\n")
    missing = set(drops) - named
    if missing:
        raise SystemExit(f"scripts/troubleshooting.py says nothing of {', '.join(sorted(missing))}")
    return "".join(out) + AFTER
