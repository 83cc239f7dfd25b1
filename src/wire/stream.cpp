#include "wire/stream.h"

namespace sluice::wire {
namespace {

constexpr uint8_t kKnownFlags = kStreamBegin | kStreamEnd | kStreamCredit | kStreamReply;

template <typename T>
void append(Buffer& out, T value) {
  const Bytes bytes = bytes_of(value);
  out.insert(out.end(), bytes.begin(), bytes.end());
}

}  // namespace

void write_stream(const StreamMessage& m, Buffer& out) {
  append(out, m.flags);
  append(out, uint8_t{0});
  append(out, m.status);
  if (m.begins()) {
    append(out, m.call_id);
    if (!m.reply()) out.insert(out.end(), m.key.begin(), m.key.end());
  }
  if (m.credits()) append(out, m.credit);
  out.insert(out.end(), m.data.begin(), m.data.end());
}

std::optional<StreamMessage> read_stream(Bytes bytes) {
  if (bytes.size() < kStreamHeader || bytes[1] != 0) return std::nullopt;
  StreamMessage m;
  m.flags = bytes[0];
  m.status = load_le<uint16_t>(&bytes[2]);
  if ((m.flags & ~kKnownFlags) != 0 || (m.reply() && !m.begins()) || (m.status != 0 && !m.ends())) {
    return std::nullopt;
  }
  Bytes rest = bytes.subspan(kStreamHeader);
  const size_t begin = !m.begins() ? 0 : m.reply() ? 8 : 8 + kStreamKey;
  if (rest.size() < begin + (m.credits() ? 8 : 0)) return std::nullopt;
  if (m.begins()) {
    m.call_id = load_le<uint64_t>(rest.data());
    m.key = rest.subspan(8, begin - 8);
  }
  rest = rest.subspan(begin);
  if (m.credits()) {
    m.credit = load_le<uint64_t>(rest.data());
    rest = rest.subspan(8);
  }
  m.data = rest;
  return m;
}

}  // namespace sluice::wire
