// Placement of tables on NUMA nodes: what is asked of the kernel, on a machine that need not have
// more than one.
#include "fabric/numa.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <filesystem>

#include "fabric/arena.h"

namespace sluice::fabric {
namespace {

constexpr uint64_t kPage = 4096;

class SysFolder {
 public:
  SysFolder() {
    std::string name = testing::TempDir() + "sys-XXXXXX";
    path = mkdtemp(name.data());
  }
  ~SysFolder() { std::filesystem::remove_all(path); }
  void core(unsigned n, const std::string& entry) {
    std::filesystem::create_directories(path + "/cpu" + std::to_string(n) + "/" + entry);
  }
  std::string path;
};

TEST(Numa, ReadsTheNodeOfACore) {
  SysFolder sys;
  sys.core(0, "node0");
  sys.core(7, "cache");
  sys.core(7, "node3");
  sys.core(8, "nodes");
  sys.core(9, "node64");
  EXPECT_EQ(node_of_core(0, sys.path), 0u);
  EXPECT_EQ(node_of_core(7, sys.path), 3u);
  EXPECT_EQ(node_of_core(8, sys.path), 0u) << "no number";
  EXPECT_EQ(node_of_core(9, sys.path), 0u) << "more nodes than are provided for";
  EXPECT_EQ(node_of_core(1000, sys.path), 0u) << "no such core";
}

ArenaHeader header_of(const ArenaSizes& sizes) {
  return (*Arena::create(sizes, PageKind::kSmall))->header();
}

TEST(Numa, OneNodeNeedsNoWords) {
  const ArenaHeader h = header_of({.agents = 4, .edges = 4, .sessions = 4, .workers = 2});
  const unsigned same[] = {1, 1};
  EXPECT_TRUE(spread(h, same, kPage).empty());
  EXPECT_TRUE(spread(h, {}, kPage).empty());
}

TEST(Numa, SendCountersLieWithTheirWorkerAndTheRestIsSpread) {
  const ArenaHeader h = header_of({.agents = 4, .edges = 4, .sessions = 10'000, .workers = 3});
  const unsigned nodes[] = {0, 2, 0};
  const auto out = spread(h, nodes, kPage);
  ASSERT_EQ(out.size(), 4u);
  EXPECT_EQ(out[0], (Stretch{0, h.total, 0b101}));
  for (unsigned w = 0; w < 3; ++w) {
    const Stretch& s = out[1 + w];
    EXPECT_EQ(s.nodes, uint64_t{1} << nodes[w]);
    EXPECT_EQ(s.at % kPage, 0u);
    EXPECT_EQ(s.size % kPage, 0u);
    EXPECT_GE(s.at, h.lanes_at + w * 80'000);
    EXPECT_LE(s.at + s.size, h.lanes_at + (w + 1) * 80'000) << "not into another worker's";
    EXPECT_GT(s.size, 80'000 - 2 * kPage);
  }
}

TEST(Numa, LessThanAPageIsNotSplit) {
  const ArenaHeader h = header_of({.agents = 4, .edges = 4, .sessions = 100, .workers = 2});
  const unsigned nodes[] = {0, 1};
  EXPECT_EQ(spread(h, nodes, 2u << 20).size(), 1u);
}

// The kernel may refuse (it may have no NUMA, or know no node 1); the arena is whole all the same.
TEST(Numa, AnArenaForNodesThatAreNotThereIsWhole) {
  const unsigned nodes[] = {0, 1};
  auto arena = Arena::create({.agents = 4, .edges = 4, .sessions = 10'000, .workers = 2},
                             PageKind::kSmall, nodes);
  ASSERT_TRUE(arena);
  for (uint32_t i = 0; i < 10'000; ++i) (*arena)->lane_counter(1, i) = i;
  EXPECT_EQ((*arena)->lane_counter(1, 9'999), 9'999u);
}

}  // namespace
}  // namespace sluice::fabric
