#include "agent/whole_message.h"

#include "agent/call.h"

namespace sluice::agent {

void WholeMessage::send(Call& call, Buffer message, uint16_t status) {
  out_ = std::move(message);
  written_ = 0;
  status_ = status;
  sending_ = true;
  on_room(call);
}

void WholeMessage::on_room(Call& call) {
  if (!sending_) return;
  written_ += call.write(Bytes(out_).subspan(written_));
  if (written_ < out_.size()) return;
  sending_ = false;
  out_ = {};
  written_ = 0;
  call.end_writing(status_);
}

void WholeMessage::on_bytes(Call& call) {
  for (Bytes part = call.readable(); !part.empty(); part = call.readable()) {
    if (in_.size() + part.size() > kMostMessage) {
      in_ = {};
      return call.end(CallEnd::kBadStream, uint16_t(CallStatus::kBadStream));
    }
    in_.insert(in_.end(), part.begin(), part.end());
    call.consume(part.size());
  }
  if (call.read_all() && whole_) std::exchange(whole_, nullptr)(call);
}

void WholeMessage::on_end(Call&) {
  sending_ = false;
  out_ = {};
  written_ = 0;
}

}  // namespace sluice::agent
