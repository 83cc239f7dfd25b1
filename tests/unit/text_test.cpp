// Bytes as text: known answers, round trips, and that no second spelling is accepted.
#include "crypto/text.h"

#include <gtest/gtest.h>

#include <random>

#include "crypto/secret.h"
#include "rfc_vectors.h"
#include "unit/ready.h"
#include "vectors.h"

namespace sluice::crypto {
namespace {

using vectors::unhex;

TEST(Hex, KnownAnswersAndRoundTrips) {
  ASSERT_TRUE(kReady);
  EXPECT_EQ(to_hex(unhex("00017f80abcdefff")), "00017f80abcdefff");
  EXPECT_EQ(to_hex({}), "");
  EXPECT_EQ(from_hex(""), Buffer{});
  std::mt19937_64 random(1);
  for (size_t n = 0; n < 200; ++n) {
    const Buffer b = random_buffer(random, n);
    EXPECT_EQ(from_hex(to_hex(b)), b);
    EXPECT_EQ(to_hex(b), vectors::hex(b));
  }
}

TEST(Hex, RefusesWhatTheEncoderDoesNotWrite) {
  for (const char* bad :
       {"0", "000", "0g", "g0", "0x00", " 00", "00 ", "0 0", "00:00", "00\n", "-1"}) {
    EXPECT_FALSE(from_hex(bad)) << bad;
  }
  EXPECT_FALSE(from_hex(std::string_view("00\0\0", 4)));
}

TEST(Hex, RefusesUpperCase) {
  for (const char* bad : {"AB", "aB", "0A", "00FF"}) EXPECT_FALSE(from_hex(bad)) << bad;
}

struct Base64Case {
  const char *plain, *text, *url;
};
// RFC 4648 section 10, and the two letters in which the alphabets differ.
constexpr Base64Case kBase64[] = {
    {"", "", ""},
    {"66", "Zg==", "Zg"},
    {"666f", "Zm8=", "Zm8"},
    {"666f6f", "Zm9v", "Zm9v"},
    {"666f6f62", "Zm9vYg==", "Zm9vYg"},
    {"666f6f6261", "Zm9vYmE=", "Zm9vYmE"},
    {"666f6f626172", "Zm9vYmFy", "Zm9vYmFy"},
    {"fbff", "+/8=", "-_8"},
};

TEST(Base64, KnownAnswers) {
  for (const auto& v : kBase64) {
    const Buffer plain = unhex(v.plain);
    EXPECT_EQ(to_base64(plain), v.text);
    EXPECT_EQ(to_base64url(plain), v.url);
    EXPECT_EQ(from_base64(v.text), plain) << v.text;
    EXPECT_EQ(from_base64url(v.url), plain) << v.url;
  }
}

TEST(Base64, RoundTrips) {
  std::mt19937_64 random(2);
  for (size_t n = 0; n < 300; ++n) {
    const Buffer b = random_buffer(random, n);
    EXPECT_EQ(from_base64(to_base64(b)), b);
    EXPECT_EQ(from_base64url(to_base64url(b)), b);
  }
}

TEST(Base64, OnlyOneSpelling) {
  for (const char* bad : {"Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "Zm8", " Zg==", "Zg== ", "Zg==\n",
                          "Z g==", "=", "====", "Z", "-_8=", "Zg==Zg==", "Zm9v=", "Zm9v===="}) {
    EXPECT_FALSE(from_base64(bad)) << bad;
  }
  for (const char* bad : {"Zg==", "Zm8=", "Zh", "Zm9", "+/8", "Z", " Zg", "Zg ", "Zg\n", "="}) {
    EXPECT_FALSE(from_base64url(bad)) << bad;
  }
  EXPECT_FALSE(from_base64(std::string_view("Zm9v\0", 5)));
  EXPECT_FALSE(from_base64(std::string_view("Zm9\0", 4)));
  EXPECT_FALSE(from_base64url(std::string_view("Zm9v\0", 5)));
}

// Whatever two-letter tail decodes must be what the encoder writes for it.
TEST(Base64, EveryShortTextDecodesToItselfOrNotAtAll) {
  size_t accepted = 0, accepted_url = 0;
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) {
      const std::string two{char(a), char(b)};
      if (const auto out = from_base64url(two)) {
        ++accepted_url;
        EXPECT_EQ(to_base64url(*out), two);
      }
      if (const auto out = from_base64(two + "==")) {
        ++accepted;
        EXPECT_EQ(to_base64(*out), two + "==");
      }
    }
  }
  EXPECT_EQ(accepted, 256u);
  EXPECT_EQ(accepted_url, 256u);
}

TEST(Base58, KnownAnswers) {
  for (const auto& v : rfc::kBase58) {
    const Buffer bytes = unhex(v.bytes);
    EXPECT_EQ(to_base58(bytes), v.text);
    EXPECT_EQ(from_base58(v.text, 64), bytes) << v.text;
    EXPECT_EQ(from_base58(v.text, bytes.size()), bytes) << "exactly as many bytes as allowed";
    if (!bytes.empty()) {
      EXPECT_FALSE(from_base58(v.text, bytes.size() - 1)) << v.text;
    }
  }
}

TEST(Base58, RoundTripsOfEveryLengthWithAndWithoutLeadingZeros) {
  std::mt19937_64 random(3);
  for (size_t n = 0; n <= 80; ++n) {
    for (size_t zeros = 0; zeros <= n; zeros += 1 + n / 8) {
      Buffer b = random_buffer(random, n);
      std::fill(b.begin(), b.begin() + long(zeros), uint8_t{0});
      EXPECT_EQ(from_base58(to_base58(b), n), b);
    }
    const Buffer ones(n, 0xff);
    EXPECT_EQ(from_base58(to_base58(ones), n), ones) << n;
  }
}

TEST(Base58, RefusesOtherLettersAndTooMuch) {
  for (const char* bad :
       {"0", "O", "I", "l", " 2g", "2g ", "2 g", "2g\n", "a3g+", "a3g/", "a3g="}) {
    EXPECT_FALSE(from_base58(bad, 64)) << bad;
  }
  EXPECT_FALSE(from_base58(std::string_view("2g\0", 3), 64));
  for (int c = 128; c < 256; ++c) EXPECT_FALSE(from_base58(std::string(1, char(c)), 64));
  EXPECT_FALSE(from_base58("1", 0));
  EXPECT_EQ(from_base58("", 0), Buffer{});
  EXPECT_FALSE(from_base58(std::string(1u << 20, 'z'), 34)) << "refused before the quadratic part";
}

// All texts of up to three letters: distinct bytes, and each is its bytes' only spelling.
TEST(Base58, ShortTextsAreUnique) {
  constexpr std::string_view letters = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
  for (char a : letters) {
    for (char b : letters) {
      for (char c : letters) {
        const std::string text{a, b, c};
        const auto out = from_base58(text, 8);
        ASSERT_TRUE(out);
        ASSERT_EQ(to_base58(*out), text);
      }
    }
  }
}

}  // namespace
}  // namespace sluice::crypto
