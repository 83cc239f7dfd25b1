// SHA-512 (FIPS 180-4) of eight messages at once, each of its own length.
#pragma once

#include <cstring>

#include "crypto/lanes/engine.h"
#include "crypto/lanes/inline.h"

namespace sluice::crypto::lanes {

inline constexpr size_t kSha512Block = 128;

// The first eighty primes' cube roots: FIPS 180-4 §4.2.3.
alignas(64) inline constexpr uint64_t kSha512Round[80] = {
    0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc,
    0x3956c25bf348b538, 0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118,
    0xd807aa98a3030242, 0x12835b0145706fbe, 0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2,
    0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235, 0xc19bf174cf692694,
    0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
    0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5,
    0x983e5152ee66dfab, 0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4,
    0xc6e00bf33da88fc2, 0xd5a79147930aa725, 0x06ca6351e003826f, 0x142929670a0e6e70,
    0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed, 0x53380d139d95b3df,
    0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
    0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30,
    0xd192e819d6ef5218, 0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8,
    0x19a4c116b8d2d0c8, 0x1e376c085141ab53, 0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8,
    0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373, 0x682e6ff3d6b2b8a3,
    0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
    0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b,
    0xca273eceea26619c, 0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178,
    0x06f067aa72176fba, 0x0a637dc5a2c898a6, 0x113f9804bef90dae, 0x1b710b35131c471b,
    0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc, 0x431d67c49c100d4c,
    0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817};

inline constexpr uint64_t kSha512Initial[8] = {
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
    0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};

// Block `index` of the padded message, into `out`.
inline void sha512_block(const Sha512Input& in, size_t index, size_t blocks, uint8_t* out) {
  const size_t total = in.head_size + in.body_size;
  const size_t from = index * kSha512Block;
  const auto copy = [&](const uint8_t* piece, size_t piece_at, size_t piece_size) {
    const size_t a = piece_at > from ? piece_at : from;
    const size_t end = from + kSha512Block;
    const size_t b = piece_at + piece_size < end ? piece_at + piece_size : end;
    if (a < b) std::memcpy(out + (a - from), piece + (a - piece_at), b - a);
  };
  if (from + kSha512Block > total) std::memset(out, 0, kSha512Block);
  copy(in.head, 0, in.head_size);
  copy(in.body, in.head_size, in.body_size);
  if (total >= from && total < from + kSha512Block) out[total - from] = 0x80;
  if (index + 1 == blocks) {
    const uint64_t bits = __builtin_bswap64(uint64_t{total} * 8);
    std::memcpy(out + kSha512Block - 8, &bits, 8);
  }
}

inline size_t sha512_blocks(const Sha512Input& in) {
  return (in.head_size + in.body_size + 17 + kSha512Block - 1) / kSha512Block;
}

template <class L>
struct Sha512 {
  using V = typename L::V;

  // out[i]: digest of in[i] as eight words, each holding its 8 digest bytes in memory order. Lanes
  // with fewer blocks keep their state while the others go on.
  static void hash(const Sha512Input (&in)[8], uint64_t (&out)[8][8]) {
    alignas(64) uint8_t buffer[8][kSha512Block];
    size_t blocks[8], most = 0;
    for (int i = 0; i < 8; ++i) {
      blocks[i] = sha512_blocks(in[i]);
      most = blocks[i] > most ? blocks[i] : most;
    }
    V state[8];
    for (int i = 0; i < 8; ++i) state[i] = L::all(kSha512Initial[i]);
    for (size_t b = 0; b < most; ++b) {
      const uint64_t* rows[8];
      uint8_t active = 0;
      for (int i = 0; i < 8; ++i) {
        if (b < blocks[i]) {
          sha512_block(in[i], b, blocks[i], buffer[i]);
          active = static_cast<uint8_t>(active | 1u << i);
        }
        rows[i] = reinterpret_cast<const uint64_t*>(buffer[i]);
      }
      V w[16];
      L::template load_rows<16>(rows, w);
      for (auto& word : w) word = L::byte_swap(word);
      compress(state, w, L::from_bits(active));
    }
    for (auto& word : state) word = L::byte_swap(word);
    uint64_t* rows[8];
    for (int i = 0; i < 8; ++i) rows[i] = out[i];
    L::template store_rows<8>(rows, state);
  }

 private:
  static __attribute__((noinline)) void compress(V state[8], V w[16], typename L::Mask active) {
    V s[8];
    for (int i = 0; i < 8; ++i) s[i] = state[i];
    for (int t = 0; t < 80; t += 16) {
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        if (t > 0) {
          const V a = w[(i + 1) % 16], b = w[(i + 14) % 16];
          const V s0 =
              L::xor3(L::template rotate_right<1>(a), L::template rotate_right<8>(a), L::shr(a, 7));
          const V s1 = L::xor3(L::template rotate_right<19>(b), L::template rotate_right<61>(b),
                               L::shr(b, 6));
          w[i] = L::add(L::add(w[i], w[(i + 9) % 16]), L::add(s0, s1));
        }
        // The eight registers turn by one place a round, so they are renamed, not moved.
        V& a = s[(16 - i) % 8];
        V& b = s[(17 - i) % 8];
        V& c = s[(18 - i) % 8];
        V& d = s[(19 - i) % 8];
        V& e = s[(20 - i) % 8];
        V& f = s[(21 - i) % 8];
        V& g = s[(22 - i) % 8];
        V& h = s[(23 - i) % 8];
        const V big1 = L::xor3(L::template rotate_right<14>(e), L::template rotate_right<18>(e),
                               L::template rotate_right<41>(e));
        const V t1 = L::add(L::add(L::add(h, w[i]), L::all(kSha512Round[t + i])),
                            L::add(big1, L::choose(e, f, g)));
        const V big0 = L::xor3(L::template rotate_right<28>(a), L::template rotate_right<34>(a),
                               L::template rotate_right<39>(a));
        d = L::add(d, t1);
        h = L::add(t1, L::add(big0, L::majority(a, b, c)));
      }
    }
    for (int i = 0; i < 8; ++i) state[i] = L::select(active, L::add(state[i], s[i]), state[i]);
  }
};

}  // namespace sluice::crypto::lanes
