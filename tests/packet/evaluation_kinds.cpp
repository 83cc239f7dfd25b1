#include "packet/evaluation_kinds.h"

namespace rig {
namespace {

constexpr size_t kRemembered = 64;

}  // namespace

void EvaluationKinds::remember(const std::vector<Attempt*>& calls) {
  for (const Attempt* a : calls) {
    auto& list = lately_[a->line->caller];
    list.push_back(*a);
    if (list.size() > kRemembered) list.pop_front();
  }
}

Attempt EvaluationKinds::any(Line& on) {
  if (random() % 2 == 0) return bad(on);
  Attempt a = good(on);
  sign(a);
  return a;
}

Attempt EvaluationKinds::bad(Line& on) {
  Attempt a = good(on);
  Envelope& e = a.envelope;
  const auto& lately = lately_[on.caller];
  const auto earlier = [&]() -> const Attempt& { return lately[random() % lately.size()]; };
  switch (random() % 24) {
    case 0:
      e.zero = static_cast<uint8_t>(1 + random() % 255);
      break;
    case 1:
      e.scope_count = static_cast<uint8_t>(random() % 2 == 0 ? 5 + random() % 250 : 2);
      e.scopes = {7, 7, 0, 0};
      break;
    case 2:
      e.expires = random() % 2 == 0 ? e.issued : e.issued + 300'001;
      break;
    case 3:
      e.issuer = on.callee->welcome.address;
      break;
    case 4:
      a.frame_id = e.counter + (uint64_t{1} << 40);
      break;
    case 5: {  // somebody else's label, or nobody's
      const uint32_t others[] = {on.back, on.label ^ 1u << 24, 0xffffff, 0};
      a.label = others[random() % 4];
      a.own_label = false;
      break;
    }
    case 6:
      if (on.caller->labels.contains("gone")) {
        a.line = &line(on.caller->name, "gone");
        a.label = a.line->label;
        e.audience = a.line->callee->welcome.address;
      } else {
        e.grant ^= 1;
      }
      break;
    case 7:
      e.grant ^= 1 + random() % 1000;
      break;
    case 8:
      e.tenant = static_cast<uint16_t>(8 + random() % 1000);
      break;
    case 9:
      e.trace = Buf(16);
      break;
    case 10:
      e.key = Buf(16);
      break;
    case 11:
      e.audience = random() % 2 == 0 ? gamma.welcome.address : e.audience ^ 1;
      break;
    case 12:
      e.issued += 31'000;
      e.expires += 31'000;
      break;
    case 13:
      e.issued -= 31'000;
      e.expires = e.issued + (random() % 2 == 0 ? 300'000 : 30'500);
      break;
    case 14:
      e.issued -= 10'000;
      e.expires = e.issued + 9'000;
      break;
    case 15:
      e.epoch ^= uint64_t{1} << random() % 64;
      a.replay = true;
      break;
    case 16:  // every byte as it was
      if (lately.empty()) break;
      a = earlier();
      a.replay = true;
      a.got.clear();
      return a;
    case 17:  // the id alone
      if (lately.empty()) break;
      e.counter = a.frame_id = earlier().frame_id;
      a.replay = true;
      break;
    case 18:
      if (lately.empty()) break;
      e.key = earlier().envelope.key;
      a.replay = true;
      break;
    case 19:
      if (on.agreed.any_scope) break;
      e.scope_count = 1;
      e.scopes = {1 + random() % 1000, 0, 0, 0};
      break;
    case 20: {
      const int bits = static_cast<int>(random() % 256);
      if (!on.agreed.capabilities.contains(bits)) e.capability = static_cast<uint8_t>(bits);
      break;
    }
    case 21: {
      const int bits = static_cast<int>(random() % 256);
      if (!on.agreed.protocols.contains(bits)) e.protocol = static_cast<uint8_t>(bits);
      break;
    }
    case 22:  // signed by another
      a.bytes = e.signed_by(on.callee->peer);
      a.signature_holds = false;
      return a;
    default:  // a byte of it changed on the way, the signature's included
      sign(a);
      a.bytes[random() % a.bytes.size()] ^= static_cast<uint8_t>(1 + random() % 255);
      a.signature_holds = false;
      return a;
  }
  sign(a);
  return a;
}

}  // namespace rig
