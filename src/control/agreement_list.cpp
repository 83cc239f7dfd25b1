#include "control/agreement_list.h"

namespace sluice::control {

void AgreementList::enlist(uint32_t row, int side) {
  const Agreement& a = rows_[row].agreement;
  const uint32_t agent = side == 0 ? a.requester : a.approver;
  if (agent >= by_agent_.size()) by_agent_.resize(agent + 1);
  rows_[row].places[side] = static_cast<uint32_t>(by_agent_[agent].size());
  by_agent_[agent].push_back(row);
}

void AgreementList::delist(uint32_t row, int side) {
  const Agreement& a = rows_[row].agreement;
  const uint32_t agent = side == 0 ? a.requester : a.approver;
  auto& list = by_agent_[agent];
  const uint32_t place = rows_[row].places[side], last = list.back();
  list[place] = last;
  list.pop_back();
  rows_[last].places[rows_[last].agreement.requester == agent ? 0 : 1] = place;
}

Agreement& AgreementList::set(Agreement agreement) {
  const PairKey pair = agreement.pair();
  if (by_pair_.contains(pair)) remove(pair);
  uint32_t row;
  if (free_.empty()) {
    row = static_cast<uint32_t>(rows_.size());
    rows_.push_back({std::move(agreement)});
  } else {
    row = free_.back();
    free_.pop_back();
    rows_[row].agreement = std::move(agreement);
  }
  const Agreement& a = rows_[row].agreement;
  by_pair_[pair] = row;
  by_statement_[half(a.request)] = row;
  by_statement_[half(a.grant)] = row;
  for (const int side : {0, 1}) enlist(row, side);
  return rows_[row].agreement;
}

void AgreementList::remove(PairKey pair) {
  const auto it = by_pair_.find(pair);
  const uint32_t row = it->second;
  by_pair_.erase(it);
  by_statement_.erase(half(rows_[row].agreement.request));
  by_statement_.erase(half(rows_[row].agreement.grant));
  for (const int side : {0, 1}) delist(row, side);
  rows_[row].agreement = {};
  free_.push_back(row);
}

Agreement* AgreementList::find(PairKey pair) {
  const auto it = by_pair_.find(pair);
  return it == by_pair_.end() ? nullptr : &rows_[it->second].agreement;
}

const Agreement* AgreementList::find(PairKey pair) const {
  const auto it = by_pair_.find(pair);
  return it == by_pair_.end() ? nullptr : &rows_[it->second].agreement;
}

const Agreement* AgreementList::made_by(const Digest& statement) const {
  const auto it = by_statement_.find(half(statement));
  if (it == by_statement_.end()) return nullptr;
  const Agreement& a = rows_[it->second].agreement;
  return a.request == statement || a.grant == statement ? &a : nullptr;
}

std::vector<PairKey> AgreementList::of(uint32_t agent) const {
  std::vector<PairKey> out;
  if (agent >= by_agent_.size()) return out;
  for (const uint32_t row : by_agent_[agent]) out.push_back(rows_[row].agreement.pair());
  return out;
}

}  // namespace sluice::control
