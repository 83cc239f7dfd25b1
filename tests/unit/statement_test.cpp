// Statements are taken only in the one form that a canonical encoder writes: known bytes by hand,
// and every other spelling refused.
#include "wire/statement.h"

#include <gtest/gtest.h>

#include "control.pb.h"
#include "vectors.h"

namespace sluice::wire {
namespace {

using vectors::hex;
using vectors::layout;

// version 1 | relay_key 32 × 0xaa | tenant 7 | issued 1,000 | enrol { name "ab", visibility 1,
// e2e_key 32 × 0xbb }
const std::string kKeyA(64, 'a');
const std::string kKeyB(64, 'b');
const std::string kHead = "0801 1220" + kKeyA + "1807 20e807";
const std::string kEnrol = "0a026162 1001 1a20" + kKeyB;  // 4 + 2 + 34 = 40 = 0x28
const std::string kStatement = kHead + "a20128" + kEnrol;

bool accepts(Bytes b) {
  pb::Statement out;
  return parse_statement(b, out).has_value();
}
bool accepts(const std::string& text) {
  return accepts(layout(text));
}

pb::Statement sample() {
  pb::Statement s;
  s.set_version(1);
  s.set_relay_key(std::string(32, '\xaa'));
  s.set_tenant(7);
  s.set_issued_ms(1000);
  s.mutable_enrol()->set_name("ab");
  s.mutable_enrol()->set_visibility(1);
  s.mutable_enrol()->set_e2e_key(std::string(32, '\xbb'));
  return s;
}

TEST(Statement, BytesByHand) {
  EXPECT_EQ(hex(as_bytes(encode_statement(sample()))), hex(layout(kStatement)));
  pb::Statement out;
  const auto r = parse_statement(layout(kStatement), out);
  ASSERT_TRUE(r) << r.error().message;
  EXPECT_EQ(out.version(), 1u);
  EXPECT_EQ(out.relay_key(), std::string(32, '\xaa'));
  EXPECT_EQ(out.tenant(), 7u);
  EXPECT_EQ(out.issued_ms(), 1000u);
  ASSERT_EQ(out.body_case(), pb::Statement::kEnrol);
  EXPECT_EQ(out.enrol().name(), "ab");
  EXPECT_EQ(out.enrol().visibility(), 1u);
  EXPECT_EQ(out.enrol().e2e_key(), std::string(32, '\xbb'));
  EXPECT_EQ(encode_statement(out), as_text(layout(kStatement)));
}

TEST(Statement, OptionalPartsMayBeLeftOut) {
  EXPECT_TRUE(accepts(kHead + "a20100")) << "a body of defaults is still a body";
  EXPECT_TRUE(accepts("0801 a20100"));
  EXPECT_TRUE(accepts(kHead + "9a0104 0a02 ffff")) << "TrustRevoke";
}

struct Bad {
  const char* why;
  std::string bytes;
};

TEST(Statement, EveryOtherFormIsRefused) {
  const Bad cases[] = {
      {"nothing", ""},
      {"no version", "1220" + kKeyA + "1807 20e807 a20128" + kEnrol},
      {"version 0 written out", "0800 1220" + kKeyA + "1807 20e807 a20128" + kEnrol},
      {"version 2", "0802 1220" + kKeyA + "1807 20e807 a20128" + kEnrol},
      {"no body", kHead},
      {"unknown body only", kHead + "aa0600"},
      {"unknown field, varint", kStatement + "a80601"},
      {"unknown field, bytes", kStatement + "aa060161"},
      {"unknown field, 32 bits", kStatement + "ad0601020304"},
      {"unknown field in front", "a80601" + kStatement},
      {"unknown field with a low number", "0801 2801" + kStatement.substr(5)},
      {"unknown field inside the body", kHead + "a2012a" + kEnrol + "2001"},
      {"group", kStatement + "ab06ac06"},
      {"version twice, equal", "0801" + kStatement},
      {"version twice, different", "0802" + kStatement},
      {"tenant twice", kHead + "1807 a20128" + kEnrol},
      {"body twice, equal", kStatement + "a20128" + kEnrol},
      {"body twice, the first empty", kHead + "a20100 a20128" + kEnrol},
      {"two bodies", kHead + "9a0104 0a02ffff a20128" + kEnrol},
      {"name twice inside the body", kHead + "a2012c 0a026162" + kEnrol},
      {"out of order", "1220" + kKeyA + "0801 1807 20e807 a20128" + kEnrol},
      {"body before the head", "a20128" + kEnrol + kHead},
      {"out of order inside the body", kHead + "a20128 1001 0a026162 1a20" + kKeyB},
      {"version in two bytes", "088100 1220" + kKeyA + "1807 20e807 a20128" + kEnrol},
      {"issued in three bytes", "0801 1220" + kKeyA + "1807 20e88700 a20128" + kEnrol},
      {"tag in two bytes", "888000 01" + kStatement.substr(4)},
      {"length in two bytes", "0801 12a000" + kKeyA + "1807 20e807 a20128" + kEnrol},
      {"body's length in two bytes", kHead + "a201a800" + kEnrol},
      {"tenant beyond 32 bits", "0801 1220" + kKeyA + "188780808010 20e807 a20128" + kEnrol},
      {"tenant 0 written out", "0801 1220" + kKeyA + "1800 20e807 a20128" + kEnrol},
      {"empty key written out", "0801 1200 1807 20e807 a20128" + kEnrol},
      {"empty name written out", kHead + "a20126 0a00 1001 1a20" + kKeyB},
      {"visibility 0 written out", kHead + "a20128 0a026162 1000 1a20" + kKeyB},
      {"name not UTF-8", kHead + "a20128 0a02ff62 1001 1a20" + kKeyB},
      {"another wire type", "0901000000000000001220" + kKeyA + "1807 20e807 a20128" + kEnrol},
      {"trailing zero", kStatement + "00"},
      {"trailing byte", kStatement + "01"},
      {"field number 0", kStatement + "0001"},
      {"end of a group", kStatement + "0c"},
      {"body longer than the statement", kHead + "a20129" + kEnrol},
      {"body shorter than its fields", kHead + "a20127" + kEnrol},
  };
  ASSERT_TRUE(accepts(kStatement));
  for (const Bad& c : cases) EXPECT_FALSE(accepts(c.bytes)) << c.why;
}

TEST(Statement, EveryTruncationIsRefused) {
  const Buffer good = layout(kStatement);
  for (size_t n = 0; n < good.size(); ++n) {
    const Buffer cut(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(n));
    EXPECT_FALSE(accepts(cut)) << n;
  }
  for (int extra = 0; extra < 256; ++extra) {
    Buffer longer = good;
    longer.push_back(static_cast<uint8_t>(extra));
    EXPECT_FALSE(accepts(longer)) << extra;
  }
}

// Whatever one changed byte gives, it is refused or exactly what the encoder writes for it.
TEST(Statement, AcceptedBytesAreTheirOwnEncoding) {
  const Buffer good = layout(kStatement);
  size_t accepted = 0;
  for (size_t i = 0; i < good.size(); ++i) {
    for (int value = 0; value < 256; ++value) {
      Buffer bytes = good;
      bytes[i] = static_cast<uint8_t>(value);
      pb::Statement out;
      if (parse_statement(bytes, out)) {
        ++accepted;
        EXPECT_EQ(encode_statement(out), as_text(bytes));
      }
    }
  }
  EXPECT_GT(accepted, 64u * 256u) << "the bytes of both keys are free";
}

// signer 32 × 0xaa | signature 64 × 0xbb around a statement of three bytes.
const std::string kSigned = "0a03010203 1220" + kKeyA + "1a40" + kKeyB + kKeyB;

bool accepts_signed(const std::string& text) {
  pb::Signed out;
  return parse_signed(layout(text), out).has_value();
}

TEST(Signed, BytesByHandAndBadOnes) {
  pb::Signed out;
  ASSERT_TRUE(parse_signed(layout(kSigned), out));
  EXPECT_EQ(out.statement(), "\x01\x02\x03");
  EXPECT_EQ(out.signer(), std::string(32, '\xaa'));
  EXPECT_EQ(out.signature(), std::string(64, '\xbb'));
  const Bad cases[] = {
      {"nothing", ""},
      {"no statement", "1220" + kKeyA + "1a40" + kKeyB + kKeyB},
      {"empty statement written out", "0a00 1220" + kKeyA + "1a40" + kKeyB + kKeyB},
      {"no signer", "0a03010203 1a40" + kKeyB + kKeyB},
      {"no signature", "0a03010203 1220" + kKeyA},
      {"signer of 31", "0a03010203 121f" + kKeyA.substr(2) + "1a40" + kKeyB + kKeyB},
      {"signer of 33", "0a03010203 1221aa" + kKeyA + "1a40" + kKeyB + kKeyB},
      {"signature of 63", "0a03010203 1220" + kKeyA + "1a3f" + (kKeyB + kKeyB).substr(2)},
      {"signature of 65", "0a03010203 1220" + kKeyA + "1a41bb" + kKeyB + kKeyB},
      {"statement twice", "0a03010203" + kSigned},
      {"signature twice", kSigned + "1a40" + kKeyB + kKeyB},
      {"out of order", "1220" + kKeyA + "0a03010203 1a40" + kKeyB + kKeyB},
      {"unknown field", kSigned + "2001"},
      {"trailing byte", kSigned + "00"},
      {"length in two bytes", "0a8300010203 1220" + kKeyA + "1a40" + kKeyB + kKeyB},
  };
  for (const Bad& c : cases) EXPECT_FALSE(accepts_signed(c.bytes)) << c.why;
}

TEST(Signed, RefusalsSayWhichPart) {
  pb::Signed out;
  const auto r = parse_signed({}, out);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, ErrorCode::kRefused);
  EXPECT_FALSE(r.error().message.empty());
}

}  // namespace
}  // namespace sluice::wire
