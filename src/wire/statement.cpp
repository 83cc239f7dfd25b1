#include "wire/statement.h"

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

}  // namespace sluice::wire
