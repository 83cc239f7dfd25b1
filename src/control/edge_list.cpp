#include "control/edge_list.h"

#include <algorithm>

namespace sluice::control {
namespace {

uint64_t key_of(uint32_t from, uint32_t to) {
  return uint64_t{from} << 32 | to;
}

// Geometric, also where the standard library would grow to exactly what is asked for.
template <typename Vector>
void reach(Vector& v, size_t index) {
  if (index < v.size()) return;
  if (index >= v.capacity()) v.reserve(std::max<size_t>(2 * v.capacity(), index + 1));
  v.resize(index + 1);
}

}  // namespace

void EdgeList::reserve(size_t agents, size_t edges) {
  rows_.reserve(edges + 1);
  from_.reserve(agents);
  by_pair_.reserve(edges);
}

void EdgeList::add(const EdgeEntry& edge) {
  reach(rows_, edge.slot);
  reach(from_, edge.from);
  auto& list = from_[edge.from];
  rows_[edge.slot] = {edge, static_cast<uint32_t>(list.size())};
  list.push_back(edge.slot);
  by_pair_[key_of(edge.from, edge.to)] = edge.slot;
}

void EdgeList::remove(uint32_t slot) {
  Row& row = rows_[slot];
  auto& list = from_[row.edge.from];
  list[row.place] = list.back();
  rows_[list.back()].place = row.place;
  list.pop_back();
  by_pair_.erase(key_of(row.edge.from, row.edge.to));
  row.edge = {};
}

uint32_t EdgeList::slot_of(uint32_t from, uint32_t to) const {
  const auto it = by_pair_.find(key_of(from, to));
  return it == by_pair_.end() ? fabric::kNone : it->second;
}

std::span<const uint32_t> EdgeList::of(uint32_t agent) const {
  return agent < from_.size() ? std::span<const uint32_t>(from_[agent])
                              : std::span<const uint32_t>();
}

}  // namespace sluice::control
