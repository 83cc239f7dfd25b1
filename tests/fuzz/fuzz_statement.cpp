// Signed statements and CONTROL messages. What is accepted is exactly its own encoding.
#include "control.pb.h"
#include "fuzz.h"
#include "wire/statement.h"

namespace {

using namespace sluice;

fuzz::Canary statement_seen("a statement");
fuzz::Canary signed_seen("a signed statement with a statement inside");
fuzz::Canary control_seen("a CONTROL message with a body");

bool statement(Bytes in) {
  pb::Statement out;
  if (!wire::parse_statement(in, out)) return false;
  statement_seen.reached();
  SLUICE_REQUIRE(out.version() == 1);
  SLUICE_REQUIRE(out.body_case() != pb::Statement::BODY_NOT_SET);
  SLUICE_REQUIRE(wire::encode_statement(out) == as_text(in));
  // One byte more is another field, a broken one, or the end of nothing.
  Buffer longer = to_buffer(in);
  longer.push_back(0);
  SLUICE_REQUIRE(!wire::parse_statement(longer, out));
  return true;
}

void signed_statement(Bytes in) {
  pb::Signed out;
  if (!wire::parse_signed(in, out)) return;
  SLUICE_REQUIRE(out.signer().size() == 32 && out.signature().size() == 64);
  SLUICE_REQUIRE(out.SerializeAsString() == as_text(in));
  if (statement(as_bytes(out.statement()))) signed_seen.reached();
}

void control(Bytes in) {
  pb::Control out;
  if (!out.ParseFromArray(in.data(), static_cast<int>(in.size()))) return;
  if (out.body_case() != pb::Control::BODY_NOT_SET) control_seen.reached();
  pb::Control again;
  SLUICE_REQUIRE(again.ParseFromString(out.SerializeAsString()));
  SLUICE_REQUIRE(again.SerializeAsString() == out.SerializeAsString());
  if (out.has_revoked()) signed_statement(as_bytes(out.revoked().SerializeAsString()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const Bytes in(bytes, size);
  statement(in);
  signed_statement(in);
  control(in);
  return 0;
}
