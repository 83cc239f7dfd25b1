#include "wire/statement.h"

#include <algorithm>

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include "control.pb.h"

namespace sluice::wire {
namespace {

// Deterministic serialization of a message without maps is the canonical form: fields ascending,
// defaults left out. A message whose bytes differ from it had something that we do not know.
template <typename M>
std::string canonical(const M& message) {
  std::string out;
  google::protobuf::io::StringOutputStream stream(&out);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&coded);
  coded.Trim();
  return out;
}

template <typename M>
Result<void> parse_strict(Bytes bytes, M& out, const char* what) {
  if (!out.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return fail(ErrorCode::kRefused, std::string(what) + " is not valid protobuf");
  }
  // Parsed messages keep unknown fields and write them back, so they are dropped before comparing.
  M known;
  known.CopyFrom(out);
  known.DiscardUnknownFields();
  if (canonical(known) != as_text(bytes)) {
    return fail(ErrorCode::kRefused,
                std::string(what) + " has unknown or repeated fields or is not in canonical form");
  }
  return {};
}

}  // namespace

std::string encode_statement(const pb::Statement& statement) {
  return canonical(statement);
}

std::string encode_without_consent(const pb::Statement& statement) {
  pb::Statement copy = statement;
  copy.mutable_identity_rotate()->clear_consent();
  return canonical(copy);
}

Result<void> parse_statement(Bytes bytes, pb::Statement& out) {
  if (auto r = parse_strict(bytes, out, "the statement"); !r) return r;
  if (out.version() != 1) {
    return fail(ErrorCode::kRefused, "the statement's version is not 1");
  }
  if (out.body_case() == pb::Statement::BODY_NOT_SET) {
    return fail(ErrorCode::kRefused, "the statement has no body that this version knows");
  }
  return {};
}

Result<void> parse_signed(Bytes bytes, pb::Signed& out) {
  if (auto r = parse_strict(bytes, out, "the signed statement"); !r) return r;
  if (out.signer().size() != 32 || out.signature().size() != 64 || out.statement().empty()) {
    return fail(ErrorCode::kRefused, "the signed statement lacks its signer or signature");
  }
  return {};
}

pb::Signed sign_statement(const pb::Statement& statement, const ByteArray<32>& signer,
                          const std::function<ByteArray<64>(Bytes)>& sign) {
  pb::Signed out;
  out.set_statement(encode_statement(statement));
  out.set_signer(std::string(as_text(signer)));
  out.set_signature(std::string(as_text(sign(as_bytes(out.statement())))));
  return out;
}

bool is_plain_text(std::string_view text, size_t most) {
  if (text.size() > most) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto at = [&](size_t n) -> unsigned {
      return i + n < text.size() ? static_cast<unsigned char>(text[i + n]) : 0;
    };
    const unsigned c = at(0), second = at(1), third = at(2);
    if (c < 0x20 || c == 0x7f) return false;
    if (c == 0xc2 && second < 0xa0) return false;   // U+0080 to U+009F
    if (c == 0xd8 && second == 0x9c) return false;  // U+061C
    if (c == 0xe2 && second == 0x80 &&
        ((third >= 0xa8 && third <= 0xae) || third == 0x8e || third == 0x8f)) {
      return false;  // U+2028 to U+202E, U+200E, U+200F
    }
    if (c == 0xe2 && second == 0x81 && third >= 0xa6 && third <= 0xa9)
      return false;  // U+2066 to U+2069
  }
  return true;
}

bool is_agent_name(std::string_view name) {
  const auto alnum = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z'); };
  return !name.empty() && name.size() <= 63 && alnum(name.front()) &&
         std::all_of(name.begin(), name.end(),
                     [&](char c) { return alnum(c) || c == '.' || c == '_' || c == '-'; });
}

}  // namespace sluice::wire
