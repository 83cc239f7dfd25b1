#pragma once

#include "crypto/lanes/field.h"
#include "field_probe.h"

namespace sluice::crypto::lanes {

template <class L, class Element>
Element from(LimbsIn in) {
  Element e;
  for (int i = 0; i < 5; ++i) e.v[i] = L::load(in[i]);
  return e;
}
template <class L, class Element>
void to(const Element& e, LimbsOut out) {
  for (int i = 0; i < 5; ++i) L::store(out[i], e.v[i]);
}

template <class L>
FieldProbe field_probe_of(const char* name) {
  FieldProbe p{};
  p.name = name;
  p.product = [](LimbsIn a, LimbsIn b, LimbsOut raw) {
    to<L>(from<L, Fe<L>>(a) * from<L, Fe<L>>(b), raw);
  };
  p.biased_product = [](LimbsIn a, LimbsIn b, LimbsOut raw) {
    to<L>(product<FromBias>(from<L, Fe<L>>(a), from<L, Fe<L>>(b)), raw);
  };
  p.biased_square = [](LimbsIn a, LimbsOut raw) {
    to<L>(square<FromBias>(from<L, Fe<L>>(a)), raw);
  };
  p.square = [](LimbsIn a, LimbsOut raw) { to<L>(square(from<L, Fe<L>>(a)), raw); };
  p.carry = [](LimbsIn raw, LimbsOut out) { to<L>(carry(from<L, Raw<L>>(raw)), out); };
  p.minus = [](LimbsIn a, LimbsIn b, LimbsOut raw) {
    to<L>(plus(from<L, Raw<L>>(a), kBias) - from<L, Raw<L>>(b), raw);
  };
  p.sub = [](LimbsIn a, LimbsIn b, LimbsOut out) {
    to<L>(sub(from<L, Fe<L>>(a), from<L, Fe<L>>(b)), out);
  };
  p.plus_121665_times = [](LimbsIn a, LimbsIn b, LimbsOut raw) {
    to<L>(plus_times(from<L, Raw<L>>(a), from<L, Fe<L>>(b), 121665), raw);
  };
  p.freeze = [](LimbsIn a, LimbsOut out) { to<L>(freeze(from<L, Fe<L>>(a)), out); };
  p.invert = [](LimbsIn a, LimbsOut out) {
    to<L>(invert<L, 1>(FeGroup<L, 1>{{from<L, Fe<L>>(a)}}).e[0], out);
  };
  p.power_p58 = [](LimbsIn a, LimbsOut out) {
    to<L>(power_p58<L, 1>(FeGroup<L, 1>{{from<L, Fe<L>>(a)}}).e[0], out);
  };
  p.words = [](const uint64_t(&in)[4][8], uint64_t(&out)[4][8]) {
    typename L::V w[4];
    for (int i = 0; i < 4; ++i) w[i] = L::load(in[i]);
    pack(freeze(unpack<L>(w)), w);
    for (int i = 0; i < 4; ++i) L::store(out[i], w[i]);
  };
  return p;
}

}  // namespace sluice::crypto::lanes
