// The tunnel's packets and the end-to-end message against bytes written by hand from the protocol's
// text, and what each parser must refuse: every truncation, other lengths, every field off.
#include "wire/tunnel.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <functional>

#include "vectors.h"
#include "wire/end_to_end.h"

namespace sluice::wire {
namespace {

using vectors::hex;
using vectors::layout;

bool inside(Bytes part, Bytes whole) {
  return part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size();
}

size_t offset(Bytes part, Bytes whole) {
  return static_cast<size_t>(part.data() - whole.data());
}

Buffer counting(size_t size, uint8_t first) {
  Buffer out(size);
  for (size_t i = 0; i < size; ++i) out[i] = static_cast<uint8_t>(first + i);
  return out;
}

void append(Buffer& to, Bytes more) {
  to.insert(to.end(), more.begin(), more.end());
}

// A parser as yes or no over a packet that lies at the end of its own allocation, so that a
// sanitizer sees every byte read beyond it.
using Accepts = std::function<bool(Bytes)>;

void refuses_every_truncation(const Buffer& good, const Accepts& accepts) {
  ASSERT_TRUE(accepts(good));
  for (size_t n = 0; n < good.size(); ++n) {
    const Buffer cut(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(n));
    EXPECT_FALSE(accepts(cut)) << n << " of " << good.size() << " bytes";
  }
}

void refuses_one_byte_more(const Buffer& good, const Accepts& accepts) {
  for (uint8_t extra : {0, 1, 255}) {
    Buffer longer = good;
    longer.push_back(extra);
    EXPECT_FALSE(accepts(longer));
  }
}

// Every single bit of [first, last) set the other way must be refused.
void refuses_flips(const Buffer& good, size_t first, size_t last, const Accepts& accepts) {
  for (size_t bit = 8 * first; bit < 8 * last; ++bit) {
    Buffer bad = good;
    bad[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
    EXPECT_FALSE(accepts(bad)) << "byte " << bit / 8 << ", bit " << bit % 8;
  }
}

void accepts_flips(const Buffer& good, size_t first, size_t last, const Accepts& accepts) {
  for (size_t bit = 8 * first; bit < 8 * last; ++bit) {
    Buffer other = good;
    other[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
    EXPECT_TRUE(accepts(other)) << "byte " << bit / 8 << ", bit " << bit % 8;
  }
}

// --- The outer header --------------------------------------------------------------------------

TEST(Outer, LayoutOnTheWire) {
  uint8_t out[16];
  write_outer(out, {4, 1, 0x0102, 0xa1b2c3d4, make_counter(0x05, 0x11223344556677)});
  const Buffer expected = layout("04 01 0201 d4c3b2a1 77665544332211 05");
  EXPECT_EQ(hex(out), hex(expected));
  const OuterHeader h = read_outer(expected.data());
  EXPECT_EQ(h.type, 4);
  EXPECT_EQ(h.version, 1);
  EXPECT_EQ(h.sealed_length, 0x0102);
  EXPECT_EQ(h.receiver, 0xa1b2c3d4);
  EXPECT_EQ(h.lane(), 5);
  EXPECT_EQ(h.sequence(), 0x11223344556677u);
}

TEST(Outer, LaneAndSequenceDoNotMix) {
  EXPECT_EQ(make_counter(0, 0), 0u);
  EXPECT_EQ(make_counter(255, kSequenceMask), ~uint64_t{0});
  EXPECT_EQ(make_counter(1, 0), uint64_t{1} << 56);
  EXPECT_EQ(make_counter(0, kSequenceMask + 1), 0u) << "a sequence never reaches the lane";
  EXPECT_EQ(kSequenceMask, 0x00ffffffffffffffu);
}

TEST(Outer, TypesAsNumbered) {
  EXPECT_EQ(int(Type::kHello), 1);
  EXPECT_EQ(int(Type::kWelcome), 2);
  EXPECT_EQ(int(Type::kRetry), 3);
  EXPECT_EQ(int(Type::kData), 4);
  EXPECT_EQ(int(Type::kVersion), 5);
}

// --- HELLO ---------------------------------------------------------------------------------------

constexpr size_t kSmallestNoise = kHelloMin - 16 - 4 - 32;

// type 1, version 1, sealed length 268 = 0x010c, receiver 0, counter 0, sender 0x44332211.
Buffer hello(size_t noise = kSmallestNoise) {
  Buffer out = layout("01 01 0000 00000000 0000000000000000 11223344");
  store_le(out.data() + 2, static_cast<uint16_t>(noise));
  append(out, counting(noise, 0x30));
  append(out, Buffer(16, 0xd1));
  append(out, Buffer(16, 0xd2));
  return out;
}
const Accepts accepts_hello = [](Bytes b) { return parse_hello(b).has_value(); };

TEST(Hello, LayoutOfTheSmallest) {
  const Buffer packet = hello();
  ASSERT_EQ(packet.size(), 320u);
  EXPECT_EQ(hex(Bytes(packet).first(20)), "01010c0100000000000000000000000011223344");
  const auto v = parse_hello(packet);
  ASSERT_TRUE(v);
  EXPECT_EQ(v->sender, 0x44332211u);
  EXPECT_EQ(v->outer.receiver, 0u);
  EXPECT_EQ(offset(v->noise(), packet), 20u);
  EXPECT_EQ(v->noise().size(), 268u);
  EXPECT_EQ(hex(v->mac1()), hex(Buffer(16, 0xd1)));
  EXPECT_EQ(hex(v->mac2()), hex(Buffer(16, 0xd2)));
  EXPECT_EQ(offset(v->before_mac1(), packet), 0u);
  EXPECT_EQ(v->before_mac1().size(), 288u);
  EXPECT_EQ(v->before_mac2().size(), 304u);
  EXPECT_EQ(offset(v->mac1(), packet), 288u);
  EXPECT_EQ(offset(v->mac2(), packet), 304u);
  EXPECT_TRUE(inside(v->noise(), packet));
}

TEST(Hello, PrologueIsLabelThenHeaderThenSender) {
  const Buffer packet = hello();
  EXPECT_EQ(hex(hello_prologue(packet)),
            "736c756963652f31000000000000000000000000000000000000000000000000"
            "01010c01000000000000000000000000"
            "11223344");
  EXPECT_EQ(kPrologueSize, 52u);
}

TEST(Hello, OtherLengthsAndFieldsAreRefused) {
  for (size_t noise : {kSmallestNoise, kSmallestNoise + 1, size_t{1400}, size_t{65535}}) {
    EXPECT_TRUE(accepts_hello(hello(noise))) << noise;
  }
  for (size_t noise : {size_t{0}, size_t{80}, size_t{245}, kSmallestNoise - 1}) {
    EXPECT_FALSE(accepts_hello(hello(noise))) << noise << ": below 320 bytes";
  }
  const Buffer good = hello();
  refuses_every_truncation(good, accepts_hello);
  refuses_one_byte_more(good, accepts_hello);
  refuses_flips(good, 0, 4, accepts_hello);   // type, version, sealed length
  refuses_flips(good, 8, 16, accepts_hello);  // the counter is 0
  accepts_flips(good, 4, 8, accepts_hello);   // the receiver: a rekey names its session
  accepts_flips(good, 16, 20, accepts_hello);
  // The length says less or more than what is there, the packet keeps its 320 bytes.
  for (int delta : {-2, -1, 1, 2}) {
    Buffer bad = good;
    store_le(bad.data() + 2, static_cast<uint16_t>(int(kSmallestNoise) + delta));
    EXPECT_FALSE(accepts_hello(bad)) << delta;
  }
  // Long enough as a packet, but message 1 too short for its tokens and payload.
  Buffer hollow(320, 0);
  hollow[0] = hollow[1] = 1;
  EXPECT_FALSE(accepts_hello(hollow));
}

// identity | time | features | token length | token | zeros | signature
Buffer hello_payload(Bytes token, size_t zeros) {
  Buffer out = counting(32, 0x80);
  append(out, layout("0807060504030201 0d0c0b0a"));
  out.push_back(static_cast<uint8_t>(token.size()));
  out.push_back(static_cast<uint8_t>(token.size() >> 8));
  append(out, token);
  out.resize(out.size() + zeros, 0);
  append(out, counting(64, 0x10));
  return out;
}
const Accepts accepts_payload = [](Bytes b) { return parse_hello_payload(b).has_value(); };

TEST(HelloPayload, Layout) {
  const Buffer token = counting(16, 0xe0);
  const Buffer payload = hello_payload(token, 46);
  ASSERT_EQ(payload.size(), 172u);
  const auto v = parse_hello_payload(payload);
  ASSERT_TRUE(v);
  EXPECT_EQ(hex(v->identity), hex(counting(32, 0x80)));
  EXPECT_EQ(v->time_ms, 0x0102030405060708u);
  EXPECT_EQ(v->features, 0x0a0b0c0du);
  EXPECT_EQ(offset(v->token, payload), 46u);
  EXPECT_EQ(hex(v->token), hex(token));
  EXPECT_EQ(hex(v->signature), hex(counting(64, 0x10)));
  EXPECT_EQ(offset(v->signed_part, payload), 0u);
  EXPECT_EQ(v->signed_part.size(), 108u);

  const Buffer built = build_hello_payload(take<32>(payload.data()), 0x0102030405060708, 0x0a0b0c0d,
                                           token, payload.size());
  EXPECT_EQ(hex(built), hex(v->signed_part));
}

TEST(HelloPayload, SmallestSizeMakesThe320Bytes) {
  // 320 - outer 16 - sender 4 - tokens 80 - tag 16 - macs 32 = 172.
  EXPECT_EQ(hello_payload_size(0), 172u);
  EXPECT_EQ(hello_payload_size(16), 172u);
  EXPECT_EQ(hello_payload_size(62), 172u);
  EXPECT_EQ(hello_payload_size(63), 173u);
  EXPECT_EQ(hello_payload_size(255), 365u);
  for (size_t token = 0; token <= kTokenMax; ++token) {
    const size_t size = hello_payload_size(token);
    const Buffer t(token, 0x77);
    Buffer payload = build_hello_payload({}, 1, 2, t, size);
    append(payload, Buffer(64, 1));
    ASSERT_EQ(payload.size(), size);
    const auto v = parse_hello_payload(payload);
    ASSERT_TRUE(v) << token;
    EXPECT_EQ(to_buffer(v->token), t);
    EXPECT_TRUE(parse_hello(hello(kHelloTokens + size + kTagSize)));
  }
}

TEST(HelloPayload, BadOnesAreRefused) {
  EXPECT_TRUE(accepts_payload(hello_payload({}, 0))) << "110 bytes is the least";
  EXPECT_EQ(hello_payload({}, 0).size(), 110u);
  refuses_every_truncation(hello_payload({}, 0), accepts_payload);
  EXPECT_TRUE(accepts_payload(hello_payload(counting(255, 1), 0)));
  EXPECT_FALSE(accepts_payload(hello_payload(counting(256, 1), 0)))
      << "a token has at most 255 bytes";
  EXPECT_FALSE(accepts_payload(hello_payload(counting(300, 1), 10)));

  const Buffer good = hello_payload(counting(16, 1), 46);
  refuses_flips(good, 62, 108, accepts_payload);  // each reserved bit of the zeros
  accepts_flips(good, 0, 44, accepts_payload);
  accepts_flips(good, 46, 62, accepts_payload);
  accepts_flips(good, 108, 172, accepts_payload);
  // A token length that reaches into the signature, or beyond.
  Buffer exact = hello_payload(counting(16, 1), 0);
  for (unsigned claim : {17u, 80u, 81u, 255u, 256u, 65535u}) {
    store_le(exact.data() + 44, static_cast<uint16_t>(claim));
    EXPECT_FALSE(accepts_payload(exact)) << claim;
  }
  store_le<uint16_t>(exact.data() + 44, 15);
  EXPECT_FALSE(accepts_payload(exact)) << "the token's last byte would be padding";
}

// --- WELCOME -------------------------------------------------------------------------------------

Buffer welcome() {
  Buffer out = layout("02 01 6000 44332211 0000000000000000 88776655");
  append(out, counting(96, 0x40));
  append(out, Buffer(16, 0xd1));
  append(out, Buffer(16, 0));
  return out;
}
const Accepts accepts_welcome = [](Bytes b) { return parse_welcome(b).has_value(); };

TEST(Welcome, Layout) {
  const Buffer packet = welcome();
  ASSERT_EQ(packet.size(), 148u);
  EXPECT_EQ(kWelcomeSize, 148u);
  const auto v = parse_welcome(packet);
  ASSERT_TRUE(v);
  EXPECT_EQ(v->outer.receiver, 0x11223344u);
  EXPECT_EQ(v->sender, 0x55667788u);
  EXPECT_EQ(offset(v->noise(), packet), 20u);
  EXPECT_EQ(v->noise().size(), 96u);
  EXPECT_EQ(v->before_mac1().size(), 116u);
  EXPECT_EQ(hex(v->mac1()), hex(Buffer(16, 0xd1)));
}

TEST(Welcome, PayloadLayout) {
  const Buffer expected = layout(
      "04030201 08070605 f0a3010007000000 1817161514131211 2827262524232221 34333231 44434241"
      "b405 03 04 00000000");
  ASSERT_EQ(expected.size(), 48u);
  const WelcomePayload p{0x01020304,
                         0x05060708,
                         0x000000070001a3f0,
                         0x1112131415161718,
                         0x2122232425262728,
                         0x31323334,
                         0x41424344,
                         1460,
                         3,
                         4,
                         0};
  uint8_t out[48];
  store_le(out, p);
  EXPECT_EQ(hex(out), hex(expected));
  const auto back = load_le<WelcomePayload>(expected.data());
  EXPECT_EQ(back.receiver, 0x01020304u);
  EXPECT_EQ(back.sender, 0x05060708u);
  EXPECT_EQ(back.address, 0x70001a3f0u);
  EXPECT_EQ(back.relay_time_ms, 0x1112131415161718u);
  EXPECT_EQ(back.relay_epoch, 0x2122232425262728u);
  EXPECT_EQ(back.trust_life_s, 0x31323334u);
  EXPECT_EQ(back.features, 0x41424344u);
  EXPECT_EQ(back.mtu, 1460);
  EXPECT_EQ(back.send_lanes, 3);
  EXPECT_EQ(back.receive_lanes, 4);
}

TEST(Welcome, BadOnesAreRefused) {
  const Buffer good = welcome();
  refuses_every_truncation(good, accepts_welcome);
  refuses_one_byte_more(good, accepts_welcome);
  refuses_flips(good, 0, 4, accepts_welcome);
  refuses_flips(good, 8, 16, accepts_welcome);
  refuses_flips(good, 132, 148, accepts_welcome);  // each bit of the zeros
  accepts_flips(good, 4, 8, accepts_welcome);
  accepts_flips(good, 16, 132, accepts_welcome);
}

// --- RETRY ---------------------------------------------------------------------------------------

Buffer retry() {
  Buffer out = layout("03 01 2000 44332211 0000000000000000");
  append(out, counting(24, 0x60));
  append(out, counting(32, 0x90));
  return out;
}
const Accepts accepts_retry = [](Bytes b) { return parse_retry(b).has_value(); };

TEST(Retry, Layout) {
  const Buffer packet = retry();
  ASSERT_EQ(packet.size(), 72u);
  EXPECT_EQ(kRetrySize, 72u);
  const auto v = parse_retry(packet);
  ASSERT_TRUE(v);
  EXPECT_EQ(v->outer.receiver, 0x11223344u);
  EXPECT_EQ(hex(v->nonce), hex(counting(24, 0x60)));
  EXPECT_EQ(hex(v->sealed_cookie), hex(counting(32, 0x90)));
  EXPECT_EQ(offset(v->nonce, packet), 16u);
  EXPECT_EQ(offset(v->sealed_cookie, packet), 40u);
}

TEST(Retry, BadOnesAreRefused) {
  const Buffer good = retry();
  refuses_every_truncation(good, accepts_retry);
  refuses_one_byte_more(good, accepts_retry);
  refuses_flips(good, 0, 4, accepts_retry);
  refuses_flips(good, 8, 16, accepts_retry);
  accepts_flips(good, 4, 8, accepts_retry);
  accepts_flips(good, 16, 72, accepts_retry);
}

// --- VERSION -------------------------------------------------------------------------------------

const Accepts accepts_version = [](Bytes b) { return parse_version(b).has_value(); };

TEST(Version, LayoutOfTheAnswer) {
  Buffer offending(256, 0xcc);
  const Buffer start = layout("01 07 ffff eeeeeeee 1122334455667788 a1b2c3d4");
  std::copy(start.begin(), start.end(), offending.begin());
  const auto answer = build_version(offending);
  EXPECT_EQ(hex(answer), hex(layout("05 00 0100 a1b2c3d4 1122334455667788 01")));
  const auto v = parse_version(answer);
  ASSERT_TRUE(v);
  EXPECT_EQ(v->sender, 0xd4c3b2a1u);
  EXPECT_EQ(v->counter, 0x8877665544332211u);
  EXPECT_EQ(hex(v->versions), "01");
}

TEST(Version, SeveralVersionsAndBadOnes) {
  const Buffer good = layout("05 00 0300 a1b2c3d4 1122334455667788 010203");
  const auto v = parse_version(good);
  ASSERT_TRUE(v);
  EXPECT_EQ(hex(v->versions), "010203");
  EXPECT_EQ(offset(v->versions, good), 16u);
  refuses_every_truncation(good, accepts_version);
  refuses_one_byte_more(good, accepts_version);
  refuses_flips(good, 0, 4, accepts_version);
  accepts_flips(good, 4, good.size(), accepts_version);
}

// --- DATA ----------------------------------------------------------------------------------------

TEST(SealOf, Table) {
  struct Sealed {
    unsigned sealed;
    size_t size;
    Seal expected;
    const char* why;
  };
  constexpr size_t d = 32;  // outer header and tag
  const Sealed cases[] = {
      {16, d + 16, Seal::kFull, "a frame header alone"},
      {17, d + 17, Seal::kFull, "full, one byte more"},
      {31, d + 31, Seal::kFull, "full"},
      {32, d + 32, Seal::kFull, "full, as long as the shortest header seal"},
      {1400, d + 1400, Seal::kFull, "full"},
      {65535, d + 65535, Seal::kFull, "the longest"},
      {16, d + 32, Seal::kHeader, "the shortest rest, 16 bytes"},
      {16, d + 33, Seal::kHeader, "header"},
      {16, d + 1400, Seal::kHeader, "header"},
      {16, d + 17, Seal::kMalformed, "a rest of 1 byte"},
      {16, d + 31, Seal::kMalformed, "a rest of 15 bytes"},
      {17, d + 18, Seal::kMalformed, "a rest of 1 byte after a longer region"},
      {17, d + 48, Seal::kMalformed, "the header seal's region is 16 bytes"},
      {32, d + 64, Seal::kMalformed, "the header seal's region is 16 bytes"},
      {15, d + 15, Seal::kMalformed, "region too short"},
      {15, d + 16, Seal::kMalformed, "region too short"},
      {15, d + 31, Seal::kMalformed, "region too short"},
      {0, d + 16, Seal::kMalformed, "no region"},
      {0, d, Seal::kMalformed, "nothing at all"},
      {17, d + 16, Seal::kMalformed, "beyond the packet"},
      {65535, d + 16, Seal::kMalformed, "beyond the packet"},
      {16, d + 15, Seal::kMalformed, "beyond the packet"},
      {16, 16, Seal::kMalformed, "an outer header alone"},
      {16, 0, Seal::kMalformed, "nothing"},
  };
  for (const Sealed& c : cases) {
    EXPECT_EQ(seal_of(static_cast<uint16_t>(c.sealed), c.size), c.expected)
        << c.sealed << " of " << c.size << ": " << c.why;
  }
}

// Against the sentence of the protocol, for every pair of small numbers.
TEST(SealOf, AgreesWithTheTextForAllSmallSizes) {
  size_t full = 0, header = 0;
  for (unsigned sealed = 0; sealed < 200; ++sealed) {
    for (size_t size = 0; size < 300; ++size) {
      Seal expected = Seal::kMalformed;
      if (sealed >= 16 && size >= 32u + sealed) {
        const size_t rest = size - 32 - sealed;
        if (rest == 0) expected = Seal::kFull;
        if (rest >= 16 && sealed == 16) expected = Seal::kHeader;
      }
      full += expected == Seal::kFull;
      header += expected == Seal::kHeader;
      ASSERT_EQ(seal_of(static_cast<uint16_t>(sealed), size), expected) << sealed << " " << size;
    }
  }
  EXPECT_EQ(full, 184u);
  EXPECT_EQ(header, 236u);
}

// --- End to end ----------------------------------------------------------------------------------

Buffer e2e(uint8_t type, uint64_t counter, size_t size) {
  Buffer out = layout("00 000000 44332211 0000000000000000");
  out[0] = type;
  store_le(out.data() + 8, counter);
  append(out, counting(size - 16, 0x20));
  return out;
}
const Accepts accepts_e2e = [](Bytes b) { return parse_e2e(b).has_value(); };

TEST(EndToEnd, HeaderLayout) {
  const Buffer message =
      layout("03 000000 d4c3b2a1 8877665544332211 00000000000000000000000000000000");
  const auto h = parse_e2e(message);
  ASSERT_TRUE(h);
  EXPECT_EQ(h->type, 3);
  EXPECT_EQ(h->key_id, 0xa1b2c3d4u);
  EXPECT_EQ(h->counter, 0x1122334455667788u);
}

TEST(EndToEnd, AadLayout) {
  const Buffer header = layout("03 000000 d4c3b2a1 8877665544332211");
  EXPECT_EQ(hex(e2e_aad(header.data(), 3, 1, 0x0102030405060708)),
            hex(layout("03 000000 d4c3b2a1 8877665544332211 03 01 0807060504030201")));
  EXPECT_EQ(kE2eAad, 26u);
}

TEST(EndToEnd, SizesByType) {
  EXPECT_EQ(kKk1Size, 72u);
  EXPECT_EQ(kKk2Size, 68u);
  for (size_t size = 16; size < 200; ++size) {
    EXPECT_EQ(accepts_e2e(e2e(1, 0, size)), size == 72) << size;
    EXPECT_EQ(accepts_e2e(e2e(2, 0, size)), size == 68) << size;
    EXPECT_EQ(accepts_e2e(e2e(3, 5, size)), size >= 32) << size;
    for (int type = 0; type < 256; ++type) {
      if (type >= 1 && type <= 3) continue;
      EXPECT_FALSE(accepts_e2e(e2e(static_cast<uint8_t>(type), 0, size))) << type;
    }
  }
  EXPECT_FALSE(accepts_e2e(e2e(1, 1, 72))) << "a handshake has no counter";
  EXPECT_FALSE(accepts_e2e(e2e(2, 1, 68)));
  EXPECT_TRUE(accepts_e2e(e2e(3, 0, 32))) << "transport counts from 0";
  EXPECT_TRUE(accepts_e2e(e2e(3, ~uint64_t{0}, 32)));
}

TEST(EndToEnd, BadOnesAreRefused) {
  for (const Buffer& good : {e2e(1, 0, 72), e2e(2, 0, 68), e2e(3, 9, 32)}) {
    refuses_every_truncation(good, accepts_e2e);
    refuses_flips(good, 1, 4, accepts_e2e);  // each bit of the zeros
    accepts_flips(good, 4, 8, accepts_e2e);
  }
  refuses_flips(e2e(1, 0, 72), 8, 16, accepts_e2e);
  refuses_flips(e2e(2, 0, 68), 8, 16, accepts_e2e);
  accepts_flips(e2e(3, 0, 32), 8, 32, accepts_e2e);
  refuses_one_byte_more(e2e(1, 0, 72), accepts_e2e);
  refuses_one_byte_more(e2e(2, 0, 68), accepts_e2e);
}

}  // namespace
}  // namespace sluice::wire
