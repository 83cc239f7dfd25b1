-- Wireshark dissector for Sluice's tunnel protocol (docs/protocol.md; docs/capture.md says how to install and use it).
-- Packets as they are on a wire show their outer header; what `sluice-pcap decrypt` has opened (the top bit of a type)
-- shows its frames and messages as well. Credentials are never shown.
-- Runs with Lua 5.2 (Wireshark 4.0) and later.

-- names: made by scripts/make-docs from the lists in src/, do not edit.
local TYPES = {
  [1] = "HELLO",
  [2] = "WELCOME",
  [3] = "RETRY",
  [4] = "DATA",
  [5] = "VERSION",
}
local FRAMES = {
  [0] = "KEEPALIVE",
  [1] = "DATAGRAM",
  [2] = "CALL_OPEN",
  [3] = "CALL_DATA",
  [4] = "CALL_CLOSE",
  [5] = "CALL_ACCEPT",
  [6] = "CALL_DENY",
  [7] = "CONTROL",
  [8] = "CREDENTIAL",
}
local E2E_TYPES = {
  [1] = "KK1",
  [2] = "KK2",
  [3] = "transport",
}
local MESSAGE_KINDS = {
  [0] = "data",
  [1] = "ping",
  [2] = "pong",
  [3] = "packet",
  [4] = "keep",
  [5] = "ip",
}
local CAPABILITIES = {
  [1] = "read",
  [2] = "delegate",
  [3] = "tool_call",
  [4] = "workflow_command",
}
local PROTOCOLS = {
  [0] = "raw",
  [1] = "a2a",
  [2] = "mcp",
  [3] = "openai",
  [4] = "anp",
  [5] = "acp",
}
local REASONS = {
  [0] = "authorized",
  [1] = "malformed_envelope",
  [2] = "no_edge",
  [3] = "revoked",
  [4] = "wrong_tenant",
  [5] = "missing_trace_or_idempotency",
  [6] = "wrong_audience",
  [7] = "not_yet_valid",
  [8] = "expired_message",
  [9] = "replayed",
  [10] = "duplicate_idempotency_key",
  [11] = "missing_scope",
  [12] = "capability_not_allowed",
  [13] = "protocol_not_allowed",
  [14] = "outside_window",
  [15] = "control_stale",
  [16] = "circuit_open",
  [17] = "rate_limited",
  [18] = "quota_exhausted",
  [19] = "idempotency_table_full",
  [20] = "credential_unavailable",
  [21] = "audit_unavailable",
  [22] = "bad_signature",
  [23] = "approval_required",
  [24] = "approval_denied",
}
local ACCEPT_STATUSES = {
  [0] = "accepted",
  [1] = "not_served",
  [2] = "busy",
  [3] = "not_acceptable",
}
local CALL_STATUSES = {
  [0] = "ok",
  [512] = "cancelled",
  [513] = "program_timeout",
  [514] = "response_too_large",
  [515] = "server_gone",
  [516] = "unknown_call",
  [517] = "bad_stream",
  [518] = "not_started",
  [519] = "silent",
  [520] = "no_memory",
  [521] = "stream_reset",
  [522] = "upstream_reset",
}
local CONTROL_MESSAGES = {
  [1] = "ack",
  [2] = "edge_sync",
  [3] = "revoked",
  [4] = "operator_key",
  [5] = "submit",
  [6] = "outcome",
  [7] = "lookup",
  [8] = "found",
  [9] = "pending",
  [10] = "told",
  [11] = "fetch",
  [12] = "fetched",
  [13] = "relay_key",
}
local VERDICTS = {
  ok = "of a form that the protocol knows",
  truncated = "the capture has only a part of it: capture with -s 0",
  short = "shorter than the outer header's 16 bytes",
  bad_type = "of no type that there is",
  bad_version = "of another version than 1",
  unexpected_type = "of a type that does not go in this direction",
  malformed = "its sizes, or what must be zero, contradict its type",
  frame_unknown = "a frame of no type that there is",
  frame_not_allowed = "a frame that only relays send",
  frame_malformed = "a frame whose flags, label, call id or sizes are wrong",
  envelope_malformed = "an envelope that contradicts itself or its frame",
  not_zero = "bytes that must be zero are not",
  e2e_malformed = "no end-to-end message stands where one belongs",
}
-- end of names

local sluice = Proto("sluice", "Sluice tunnel")
sluice.prefs.port = Pref.uint("UDP port", 7600, "The relay's UDP port")
sluice.prefs.sctp = Pref.bool("Show SCTP in messages of calls", true, "Hand packets of calls to the SCTP dissector")

-- Every field, in the order of docs/capture.md: abbreviation, constructor, label, arguments.
local fields, F = {}, {}
local function field(name, make, label, ...)
  local f = make("sluice." .. name, label, ...)
  F[name] = f
  fields[#fields + 1] = f
end
field("verdict", ProtoField.string, "Verdict")
field("type", ProtoField.uint8, "Type", base.DEC, TYPES)
field("opened", ProtoField.bool, "Opened by sluice-pcap")
field("version", ProtoField.uint8, "Version")
field("sealed_length", ProtoField.uint16, "Sealed length")
field("receiver", ProtoField.uint32, "Receiver index", base.HEX)
field("lane", ProtoField.uint8, "Lane")
field("sequence", ProtoField.uint64, "Sequence")
field("hello.sender", ProtoField.uint32, "Sender index", base.HEX)
field("hello.ephemeral", ProtoField.bytes, "Noise e")
field("hello.static", ProtoField.bytes, "Noise s, sealed")
field("hello.payload", ProtoField.bytes, "Noise payload, sealed")
field("hello.mac1", ProtoField.bytes, "mac1")
field("hello.mac2", ProtoField.bytes, "mac2")
field("welcome.sender", ProtoField.uint32, "Sender index", base.HEX)
field("welcome.ephemeral", ProtoField.bytes, "Noise e")
field("welcome.payload", ProtoField.bytes, "Noise payload, sealed")
field("welcome.mac1", ProtoField.bytes, "mac1")
field("retry.nonce", ProtoField.bytes, "Nonce")
field("retry.cookie", ProtoField.bytes, "Cookie, sealed")
field("version.versions", ProtoField.bytes, "Versions")
field("data.tag", ProtoField.bytes, "Tag")
field("data.seal", ProtoField.uint8, "Seal", base.DEC, { [1] = "full", [2] = "header" })
field("data.size", ProtoField.uint32, "Bytes behind the tag")
field("frame.type", ProtoField.uint8, "Frame", base.DEC, FRAMES)
field("frame.flags", ProtoField.uint8, "Flags", base.HEX)
field("frame.extension_length", ProtoField.uint16, "Extension length")
field("frame.slot", ProtoField.uint32, "Edge label, slot")
field("frame.generation", ProtoField.uint8, "Edge label, generation")
field("frame.call_id", ProtoField.uint64, "Call id")
field("envelope.trace", ProtoField.bytes, "Trace id")
field("envelope.epoch", ProtoField.uint64, "Relay epoch", base.HEX)
field("envelope.counter", ProtoField.uint64, "Call counter")
field("envelope.idempotency", ProtoField.bytes, "Idempotency key")
field("envelope.issued_ms", ProtoField.uint64, "Issued, Unix ms")
field("envelope.expires_ms", ProtoField.uint64, "Expires, Unix ms")
field("envelope.audience", ProtoField.uint64, "Audience", base.HEX)
field("envelope.issuer", ProtoField.uint64, "Issuer", base.HEX)
field("envelope.tenant", ProtoField.uint16, "Tenant")
field("envelope.service", ProtoField.uint16, "Service")
field("envelope.capability", ProtoField.uint8, "Capability", base.DEC, CAPABILITIES)
field("envelope.protocol", ProtoField.uint8, "Protocol", base.DEC, PROTOCOLS)
field("envelope.scope_count", ProtoField.uint8, "Scopes")
field("envelope.scope", ProtoField.uint64, "Scope", base.HEX)
field("envelope.grant", ProtoField.uint64, "Grant", base.HEX)
field("envelope.commitment", ProtoField.bytes, "Commitment")
field("envelope.signature", ProtoField.bytes, "Signature")
field("accept.epoch", ProtoField.uint64, "Relay epoch", base.HEX)
field("accept.counter", ProtoField.uint64, "Call counter")
field("accept.status", ProtoField.uint16, "Status", base.DEC, ACCEPT_STATUSES)
field("accept.time_ms", ProtoField.uint64, "Time, Unix ms")
field("accept.signature", ProtoField.bytes, "Signature")
field("close.status", ProtoField.uint16, "Status", base.DEC, CALL_STATUSES)
field("close.bytes_sent", ProtoField.uint64, "Bytes sent")
field("deny.epoch", ProtoField.uint64, "Relay epoch", base.HEX)
field("deny.counter", ProtoField.uint64, "Call counter")
field("deny.reason", ProtoField.uint16, "Reason", base.DEC, REASONS)
field("deny.retry_after_ms", ProtoField.uint32, "Retry after, ms")
field("control.message", ProtoField.uint8, "Message", base.DEC, CONTROL_MESSAGES)
field("control.size", ProtoField.uint32, "Bytes of protobuf")
field("credential.version", ProtoField.uint32, "Version")
field("credential.index", ProtoField.uint8, "Part")
field("credential.count", ProtoField.uint8, "Parts")
field("credential.kind", ProtoField.uint8, "Kind")
field("credential.size", ProtoField.uint32, "Bytes of this part, not shown")
field("e2e.type", ProtoField.uint8, "Message", base.DEC, E2E_TYPES)
field("e2e.opened", ProtoField.bool, "Opened by sluice-pcap")
field("e2e.key_id", ProtoField.uint32, "Key id", base.HEX)
field("e2e.counter", ProtoField.uint64, "Counter")
field("e2e.ephemeral", ProtoField.bytes, "Noise e")
field("e2e.payload", ProtoField.bytes, "Noise payload, sealed")
field("e2e.size", ProtoField.uint32, "Bytes of plaintext")
field("e2e.kind", ProtoField.uint8, "Kind", base.DEC, MESSAGE_KINDS)
field("e2e.data", ProtoField.bytes, "Data")
field("e2e.ip", ProtoField.bytes, "IPv6 packet")
field("e2e.ping_id", ProtoField.uint64, "Ping id", base.HEX)
field("e2e.run", ProtoField.uint32, "Run of the sender", base.HEX)
field("e2e.peer_run", ProtoField.uint32, "Run of the receiver", base.HEX)
field("e2e.sctp", ProtoField.bytes, "SCTP packet")
field("e2e.asks", ProtoField.uint8, "Asks back")
sluice.fields = fields

local wrong = ProtoExpert.new("sluice.wrong", "Not as the protocol has it", expert.group.MALFORMED, expert.severity.ERROR)
local cut = ProtoExpert.new("sluice.cut", "Cut by the capture", expert.group.UNDECODED, expert.severity.WARN)
sluice.experts = { wrong, cut }

local sctp_dissector = Dissector.get("sctp")

-- Sizes and numbers of docs/protocol.md.
local OUTER, TAG, REGION, DATA_MIN, MAC = 16, 16, 32, 48, 16
local HELLO_MIN, HELLO_TOKENS, HELLO_PAYLOAD_MIN, NOISE = 320, 80, 110, 20
local WELCOME_SIZE, WELCOME_NOISE, RETRY_SIZE = 148, 96, 72
local ENVELOPE, ACCEPT, CLOSE, DENY, CONTROL_MAX, CREDENTIAL_HEAD, CREDENTIAL_PART = 208, 96, 16, 24, 1200, 8, 1176
local KEEPALIVE, DATAGRAM, CALL_OPEN, CALL_DATA, CALL_CLOSE = 0, 1, 2, 3, 4
local CALL_ACCEPT, CALL_DENY, CONTROL, CREDENTIAL = 5, 6, 7, 8
local OPENED = 128
local LATEST_MS, LAST_COUNTER = UInt64(0, 0x40000000), UInt64(0xfffeffff, 0xffffffff)

local function zero(range)
  return range:bytes():tohex():find("[^0]") == nil
end

local function name_of(names, number)
  return names[number] or ("type " .. number)
end

-- Puts fields of a tree one behind the other.
local function walker(tree, buffer, at)
  local w = { at = at or 0 }
  function w.le(name, size)
    local range = buffer(w.at, size)
    w.at = w.at + size
    return range, tree:add_le(F[name], range)
  end
  -- None are no field: nothing would be there to select.
  function w.bytes(name, size)
    if size > 0 then tree:add(F[name], buffer(w.at, size)) end
    w.at = w.at + size
  end
  function w.skip(size)
    w.at = w.at + size
    return buffer(w.at - size, size)
  end
  return w
end

local function dissect_hello(buffer, tree, size, sealed, counter)
  if buffer(1, 1):uint() ~= 1 then return "bad_version" end
  if size < HELLO_MIN or counter ~= UInt64(0) or size ~= NOISE + sealed + 2 * MAC or
     sealed < HELLO_TOKENS + HELLO_PAYLOAD_MIN + TAG then
    return "malformed"
  end
  local w = walker(tree, buffer, OUTER)
  w.le("hello.sender", 4)
  w.bytes("hello.ephemeral", 32)
  w.bytes("hello.static", HELLO_TOKENS - 32)
  w.bytes("hello.payload", sealed - HELLO_TOKENS)
  w.bytes("hello.mac1", MAC)
  w.bytes("hello.mac2", MAC)
  return "ok"
end

local function dissect_welcome(buffer, tree, size, sealed, counter)
  if buffer(1, 1):uint() ~= 1 or size ~= WELCOME_SIZE or counter ~= UInt64(0) or sealed ~= WELCOME_NOISE or
     not zero(buffer(size - MAC, MAC)) then
    return "malformed"
  end
  local w = walker(tree, buffer, OUTER)
  w.le("welcome.sender", 4)
  w.bytes("welcome.ephemeral", 32)
  w.bytes("welcome.payload", WELCOME_NOISE - 32)
  w.bytes("welcome.mac1", MAC)
  return "ok"
end

local function dissect_retry(buffer, tree, size, sealed, counter)
  if buffer(1, 1):uint() ~= 1 or size ~= RETRY_SIZE or counter ~= UInt64(0) or sealed ~= 32 then return "malformed" end
  local w = walker(tree, buffer, OUTER)
  w.bytes("retry.nonce", 24)
  w.bytes("retry.cookie", 32)
  return "ok"
end

local function dissect_version(buffer, tree, size, sealed)
  if buffer(1, 1):uint() ~= 0 or size ~= OUTER + sealed then return "malformed" end
  walker(tree, buffer, OUTER).bytes("version.versions", sealed)
  return "ok"
end

-- What stands in a frame of its type: whether it may, as src/wire/frame.h has it. `after`: bytes behind the header.
local function frame_verdict(h, after, to_relay)
  local t, ext = h.type, h.extension
  local alone = ext == after
  local good
  if t > CREDENTIAL then return "frame_unknown" end
  if to_relay and ext > after then return "frame_malformed" end
  if to_relay and (t == CALL_DENY or t == CREDENTIAL) then return "frame_not_allowed" end
  if t == KEEPALIVE then
    good = h.flags <= 2 and h.label_zero and after == 0 and alone
  elseif t == DATAGRAM then
    good = h.flags == 0 and h.call_zero and ext == 0
  elseif t == CALL_OPEN then
    good = (h.flags == 0 or (h.flags == 2 and not to_relay)) and ext == ENVELOPE and alone
  elseif t == CALL_DATA then
    good = h.flags <= 1 and ext == 0
  elseif t == CALL_CLOSE then
    good = h.flags <= 1 and ext == CLOSE and alone
  elseif t == CALL_ACCEPT then
    good = h.flags == 1 and ext == ACCEPT and alone
  elseif t == CALL_DENY then
    good = h.flags == 0 and ext == DENY and alone
  elseif t == CONTROL then
    good = h.flags == 0 and h.label_zero and ext > 0 and ext <= CONTROL_MAX and alone
  else
    good = h.flags == 0 and alone and ext > CREDENTIAL_HEAD and ext <= CREDENTIAL_HEAD + CREDENTIAL_PART
  end
  return good and "ok" or "frame_malformed"
end

local function address_text(range)
  local value = range:le_uint64()
  if value:rshift(48) ~= UInt64(0) then return nil end
  return string.format(" (%d:%04x.%04x)", range(4, 2):le_uint(), range(2, 2):le_uint(), range(0, 2):le_uint())
end

local function dissect_envelope(buffer, tree, call_id)
  local w = walker(tree, buffer)
  w.bytes("envelope.trace", 16)
  w.le("envelope.epoch", 8)
  local counter = w.le("envelope.counter", 8):le_uint64()
  w.bytes("envelope.idempotency", 16)
  local issued = w.le("envelope.issued_ms", 8):le_uint64()
  local expires = w.le("envelope.expires_ms", 8):le_uint64()
  for _, name in ipairs({ "envelope.audience", "envelope.issuer" }) do
    local range, item = w.le(name, 8)
    item:append_text(address_text(range) or "")
  end
  w.le("envelope.tenant", 2)
  w.le("envelope.service", 2)
  w.le("envelope.capability", 1)
  w.le("envelope.protocol", 1)
  local count = w.le("envelope.scope_count", 1):uint()
  local good = w.skip(1):uint() == 0 and count <= 4 and expires > issued and expires <= LATEST_MS and
    counter <= LAST_COUNTER and counter == call_id
  local before = UInt64(0)
  for i = 0, 3 do
    local scope = buffer(88 + 8 * i, 8):le_uint64()
    if i < count then
      tree:add_le(F["envelope.scope"], buffer(88 + 8 * i, 8))
      good = good and scope > before
    else
      good = good and scope == UInt64(0)
    end
    before = scope
  end
  w.skip(32)
  w.le("envelope.grant", 8)
  w.bytes("envelope.commitment", 16)
  w.bytes("envelope.signature", 64)
  return good and "ok" or "envelope_malformed"
end

local function dissect_accept(buffer, tree)
  local w = walker(tree, buffer)
  w.le("accept.epoch", 8)
  w.le("accept.counter", 8)
  w.le("accept.status", 2)
  local good = zero(w.skip(6))
  w.le("accept.time_ms", 8)
  w.bytes("accept.signature", 64)
  return good and "ok" or "not_zero"
end

local function status_text(status)
  if status == 0 or status > 511 then return "" end
  if status < 256 then return " (exit status " .. status .. ")" end
  return " (signal " .. (status - 256) .. ")"
end

local function dissect_close(buffer, tree)
  local w = walker(tree, buffer)
  local range, item = w.le("close.status", 2)
  item:append_text(status_text(range:le_uint()))
  local good = zero(w.skip(6))
  w.le("close.bytes_sent", 8)
  return good and "ok" or "not_zero"
end

local function dissect_deny(buffer, tree, pinfo)
  local w = walker(tree, buffer)
  w.le("deny.epoch", 8)
  w.le("deny.counter", 8)
  local reason = w.le("deny.reason", 2):le_uint()
  pinfo.cols.info:append(" " .. (REASONS[reason] or reason))
  local good = zero(w.skip(2))
  w.le("deny.retry_after_ms", 4)
  return good and "ok" or "not_zero"
end

local function dissect_control(buffer, tree, pinfo)
  local key = buffer(0, 1):uint()
  if key % 8 == 2 and key < 128 then
    local number = math.floor(key / 8)
    tree:add(F["control.message"], buffer(0, 1), number)
    pinfo.cols.info:append(" " .. name_of(CONTROL_MESSAGES, number))
  end
  tree:add(F["control.size"], buffer(), buffer:len())
  return "ok"
end

local function dissect_credential(buffer, tree)
  local w = walker(tree, buffer)
  w.le("credential.version", 4)
  w.le("credential.index", 1)
  w.le("credential.count", 1)
  w.le("credential.kind", 1)
  local good = w.skip(1):uint() == 0
  tree:add(F["credential.size"], buffer(0, 0), buffer:len() - CREDENTIAL_HEAD)
  return good and "ok" or "not_zero"
end

local function dissect_plaintext(buffer, tree, pinfo, root)
  local kind = buffer(0, 1):uint()
  local body = buffer:len() - 1
  tree:add(F["e2e.kind"], buffer(0, 1))
  pinfo.cols.info:append(" " .. (MESSAGE_KINDS[kind] or ("kind " .. kind)))
  local w = walker(tree, buffer, 1)
  if kind == 0 then
    w.bytes("e2e.data", body)
  elseif kind == 5 then
    w.bytes("e2e.ip", body)
  elseif kind == 1 or kind == 2 then
    if body >= 8 then w.le("e2e.ping_id", 8) end
  elseif kind == 3 then
    if body < 8 then return "e2e_malformed" end
    w.le("e2e.run", 4)
    w.le("e2e.peer_run", 4)
    w.bytes("e2e.sctp", body - 8)
    if sluice.prefs.sctp and sctp_dissector and body > 8 then
      -- What it finds wrong is its own affair, and the columns stay the tunnel's.
      local info, protocol = tostring(pinfo.cols.info), tostring(pinfo.cols.protocol)
      pcall(function() sctp_dissector:call(buffer(9):tvb(), pinfo, root) end)
      pinfo.cols.info, pinfo.cols.protocol = info, protocol
    end
  elseif kind == 4 then
    if body < 1 then return "e2e_malformed" end
    w.le("e2e.asks", 1)
  end
  return "ok"
end

local function dissect_message(buffer, size, tree, pinfo, root)
  if size < 32 or not zero(buffer(1, 3)) then return "e2e_malformed" end
  local raw = buffer(0, 1):uint()
  local opened = raw == 3 + OPENED
  local t = opened and 3 or raw
  local counter_zero = zero(buffer(8, 8))
  if (t == 1 and (size ~= 72 or not counter_zero)) or (t == 2 and (size ~= 68 or not counter_zero)) or t < 1 or t > 3 then
    return "e2e_malformed"
  end
  local sub = tree:add(sluice, buffer(), "End-to-end message, " .. E2E_TYPES[t])
  pinfo.cols.info:append(", " .. E2E_TYPES[t])
  sub:add(F["e2e.type"], buffer(0, 1), t)
  sub:add(F["e2e.opened"], buffer(0, 1), opened)
  local w = walker(sub, buffer, 4)
  w.le("e2e.key_id", 4)
  w.le("e2e.counter", 8)
  if t ~= 3 then
    w.bytes("e2e.ephemeral", 32)
    w.bytes("e2e.payload", size - 48)
    return "ok"
  end
  sub:add(F["e2e.size"], buffer(0, 0), size - 32)
  if not opened or size == 32 then return "ok" end
  return dissect_plaintext(buffer(16, size - 32), sub, pinfo, root)
end

local function dissect_frame(buffer, size, header_seal, tree, pinfo, root, to_relay)
  local sub = tree:add(sluice, buffer(REGION, 16), "Frame")
  local w = walker(sub, buffer, REGION)
  local h = {}
  h.type = w.le("frame.type", 1):uint()
  h.flags = w.le("frame.flags", 1):uint()
  h.extension = w.le("frame.extension_length", 2):le_uint()
  h.label_zero = zero(buffer(REGION + 4, 4))
  local slot = w.le("frame.slot", 3):le_uint()
  w.le("frame.generation", 1)
  local call_id = w.le("frame.call_id", 8):le_uint64()
  h.call_zero = call_id == UInt64(0)
  local name = name_of(FRAMES, h.type)
  sub:append_text(", " .. name)
  pinfo.cols.info:append(" " .. name)
  if slot ~= 0 then pinfo.cols.info:append(" edge " .. slot) end
  if not h.call_zero then pinfo.cols.info:append(" call " .. tostring(call_id)) end
  local after = size - DATA_MIN
  local verdict = frame_verdict(h, after, to_relay)
  if verdict ~= "ok" then return verdict end
  if header_seal and h.type ~= DATAGRAM and h.type ~= CALL_DATA then return "frame_malformed" end
  if h.type == KEEPALIVE then return "ok" end
  if after == 0 then return "e2e_malformed" end
  local rest = buffer(DATA_MIN, after)
  if h.type == DATAGRAM or h.type == CALL_DATA then return dissect_message(rest, after, tree, pinfo, root) end
  sub:set_len(size - REGION)
  if h.type == CALL_OPEN then return dissect_envelope(rest, sub, call_id) end
  if h.type == CALL_ACCEPT then return dissect_accept(rest, sub) end
  if h.type == CALL_CLOSE then return dissect_close(rest, sub) end
  if h.type == CALL_DENY then return dissect_deny(rest, sub, pinfo) end
  if h.type == CONTROL then return dissect_control(rest, sub, pinfo) end
  return dissect_credential(rest, sub)
end

local function dissect_data(buffer, tree, size, sealed, opened, pinfo, root, to_relay)
  if buffer(1, 1):uint() ~= 1 then return "bad_version" end
  local full = sealed >= 16 and sealed + REGION == size
  local header = not full and sealed == 16 and size >= DATA_MIN + 16
  if not full and not header then return "malformed" end
  local w = walker(tree, buffer, OUTER)
  w.bytes("data.tag", TAG)
  tree:add(F["data.seal"], buffer(2, 2), full and 1 or 2)
  tree:add(F["data.size"], buffer(0, 0), size - REGION)
  if opened then return dissect_frame(buffer, size, header, tree, pinfo, root, to_relay) end
  pinfo.cols.info:append(", " .. (size - REGION) .. " sealed bytes")
  return "ok"
end

local function dissect_tunnel(buffer, tree, pinfo, root, to_relay)
  local size = buffer:reported_len()
  if buffer:captured_len() < size then return "truncated" end
  if size < OUTER then return "short" end
  local raw = buffer(0, 1):uint()
  local opened = raw == 4 + OPENED
  local t = opened and 4 or raw
  local sealed = buffer(2, 2):le_uint()
  local counter = buffer(8, 8):le_uint64()
  tree:add(F["type"], buffer(0, 1), t)
  tree:add(F["opened"], buffer(0, 1), opened)
  local w = walker(tree, buffer, 1)
  w.le("version", 1)
  w.le("sealed_length", 2)
  local receiver = w.le("receiver", 4):le_uint()
  tree:add(F["lane"], buffer(15, 1))
  tree:add_le(F["sequence"], buffer(8, 7))
  pinfo.cols.info = name_of(TYPES, t)
  if not opened then pinfo.cols.info:append(string.format(" to %08x", receiver)) end
  if t == 4 then return dissect_data(buffer, tree, size, sealed, opened, pinfo, root, to_relay) end
  if t < 1 or t > 5 then return "bad_type" end
  if (t == 1) ~= to_relay then return "unexpected_type" end
  if t == 1 then return dissect_hello(buffer, tree, size, sealed, counter) end
  if t == 2 then return dissect_welcome(buffer, tree, size, sealed, counter) end
  if t == 3 then return dissect_retry(buffer, tree, size, sealed, counter) end
  return dissect_version(buffer, tree, size, sealed)
end

function sluice.dissector(buffer, pinfo, root)
  pinfo.cols.protocol = "Sluice"
  pinfo.cols.info = ""
  local tree = root:add(sluice, buffer())
  local verdict = dissect_tunnel(buffer, tree, pinfo, root, pinfo.dst_port == sluice.prefs.port)
  local item = tree:add(F["verdict"], buffer(0, 0), verdict)
  if verdict == "ok" then return end
  item:append_text(": " .. VERDICTS[verdict])
  pinfo.cols.info:append(" [" .. verdict .. "]")
  item:add_proto_expert_info(verdict == "truncated" and cut or wrong, verdict .. ": " .. VERDICTS[verdict])
end

-- The port alone says what is the tunnel's: sealed packets have nothing else that a guess could go by.
local registered
local function register()
  local table_of_ports = DissectorTable.get("udp.port")
  if registered then table_of_ports:remove(registered, sluice) end
  registered = sluice.prefs.port
  if registered ~= 0 then table_of_ports:add(registered, sluice) end
end
sluice.prefs_changed = register
register()
