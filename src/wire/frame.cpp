#include "wire/frame.h"

#include "wire/credential.h"

namespace sluice::wire {
namespace {

constexpr FrameVerdict ok_if(bool good) {
  return good ? FrameVerdict::kOk : FrameVerdict::kMalformed;
}

}  // namespace

FrameVerdict check_agent_frame(const FrameHeader& h, size_t after_header) noexcept {
  if (h.type >= kFrameTypes) return FrameVerdict::kUnknownType;
  const size_t ext = h.extension_length;
  if (ext > after_header) return FrameVerdict::kMalformed;
  const size_t rest = after_header - ext;
  const bool only_reply_flag = (h.flags & ~kFlagReply) == 0;
  switch (static_cast<FrameType>(h.type)) {
    case FrameType::kKeepalive:
      return ok_if(h.flags <= uint8_t(KeepaliveFlag::kAnswer) && h.label == 0 && after_header == 0);
    case FrameType::kDatagram:
      return ok_if(h.flags == 0 && h.call_id == 0 && ext == 0);
    case FrameType::kCallOpen:
      return ok_if(h.flags == 0 && ext == kEnvelopeSize && rest == 0);
    case FrameType::kCallData:
      return ok_if(only_reply_flag && ext == 0);
    case FrameType::kCallClose:
      return ok_if(only_reply_flag && ext == kCallCloseSize && rest == 0);
    case FrameType::kCallAccept:
      return ok_if(h.flags == kFlagReply && ext == kCallAcceptSize && rest == 0);
    case FrameType::kControl:
      return ok_if(h.flags == 0 && h.label == 0 && ext > 0 && ext <= kControlMax && rest == 0);
    case FrameType::kCallDeny:
    case FrameType::kCredential:
      return FrameVerdict::kNotFromAgent;
  }
  return FrameVerdict::kUnknownType;
}

FrameVerdict check_relay_frame(const FrameHeader& h, size_t after_header) noexcept {
  if (h.type >= kFrameTypes) return FrameVerdict::kUnknownType;
  const size_t ext = h.extension_length;
  const bool alone = ext == after_header;
  switch (static_cast<FrameType>(h.type)) {
    case FrameType::kCallOpen:
      return ok_if((h.flags & ~kFlagCredentialed) == 0 && ext == kEnvelopeSize && alone);
    case FrameType::kCallDeny:
      return ok_if(h.flags == 0 && ext == kCallDenySize && alone);
    case FrameType::kCredential:
      return ok_if(h.flags == 0 && alone && ext > sizeof(CredentialHead) &&
                   ext <= sizeof(CredentialHead) + kCredentialPart);
    default:
      // What both sides may send has one form.
      return check_agent_frame(h, after_header);
  }
}

}  // namespace sluice::wire
