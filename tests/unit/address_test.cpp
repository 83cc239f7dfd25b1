// Virtual addresses: one text for each, one address for each text.
#include "base/address.h"

#include <gtest/gtest.h>

#include <random>

namespace sluice {
namespace {

struct Case {
  uint16_t tenant;
  uint32_t node;
  uint64_t number;
  const char* text;
};
constexpr Case kCases[] = {
    {7, 0x0001a3f0, 0x70001a3f0, "7:0001.a3f0"},
    {0, 0, 0, "0:0000.0000"},
    {1, 0xffffffff, 0x1ffffffff, "1:ffff.ffff"},
    {65535, 0xffffffff, 0xffffffffffff, "65535:ffff.ffff"},
    {65535, 0, 0xffff00000000, "65535:0000.0000"},
    {10, 0xdeadbeef, 0xadeadbeef, "10:dead.beef"},
};

TEST(VirtualAddress, KnownAnswers) {
  for (const auto& c : kCases) {
    const VirtualAddress a{c.tenant, c.node};
    EXPECT_EQ(to_string(a), c.text);
    EXPECT_EQ(a.to_u64(), c.number);
    EXPECT_EQ(VirtualAddress::from_u64(c.number), a);
    EXPECT_EQ(parse_virtual_address(c.text), a);
  }
}

TEST(VirtualAddress, RoundTrips) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 20000; ++i) {
    const auto a = VirtualAddress::from_u64(random() & 0xffffffffffff);
    EXPECT_EQ(parse_virtual_address(to_string(a)), a);
    EXPECT_EQ(VirtualAddress::from_u64(a.to_u64()), a);
  }
}

TEST(VirtualAddress, NothingElseParses) {
  for (const char* bad : {"",
                          ":",
                          "7",
                          "7:",
                          ":0001.a3f0",
                          "07:0001.a3f0",
                          "00:0001.a3f0",
                          "+7:0001.a3f0",
                          "-7:0001.a3f0",
                          " 7:0001.a3f0",
                          "7 :0001.a3f0",
                          "7: 0001.a3f0",
                          "7:0001.a3f0 ",
                          "7:0001.a3f0\n",
                          "7:0001a3f0",
                          "7:0001.A3F0",
                          "7:0001.a3F0",
                          "7:001.a3f0",
                          "7:00001.a3f0",
                          "7:0001.a3f",
                          "7:0001.a3f00",
                          "7:00.01a3f0",
                          "7:0001:a3f0",
                          "7.0001.a3f0",
                          "7:0001..a3f0",
                          "7:0001.a3g0",
                          "7:0x01.a3f0",
                          "65536:0001.a3f0",
                          "99999:0001.a3f0",
                          "100000:0001.a3f0",
                          "4294967303:0001.a3f0",
                          "a:0001.a3f0",
                          "0x7:0001.a3f0",
                          "7::0001.a3f0",
                          "7:1.a3f0",
                          "7:0001,a3f0"}) {
    EXPECT_FALSE(parse_virtual_address(bad)) << bad;
  }
  EXPECT_FALSE(parse_virtual_address(std::string_view("7:0001.a3f0\0", 12)));
  EXPECT_FALSE(parse_virtual_address(std::string_view("7\0:0001.a3f0", 12)));
}

// Any one letter replaced: refused, or another address whose text is exactly that.
TEST(VirtualAddress, EverySingleChangeIsRefusedOrItsOwnText) {
  size_t accepted = 0;
  for (const auto& c : kCases) {
    const std::string good = c.text;
    for (size_t i = 0; i < good.size(); ++i) {
      for (int letter = 0; letter < 256; ++letter) {
        std::string text = good;
        text[i] = char(letter);
        if (const auto a = parse_virtual_address(text)) {
          ++accepted;
          EXPECT_EQ(to_string(*a), text);
        }
      }
    }
  }
  EXPECT_GT(accepted, 100u);
}

}  // namespace
}  // namespace sluice
