// SPDX-License-Identifier: Apache-2.0
// Buckets and the wheel.
#include "flow_table.hpp"

#include <algorithm>
#include <bit>

namespace ironcore::network::dataplane {

namespace {

/// Two keys for each connection, and on average six of eight places of a bucket are used when the table is full.
std::uint32_t buckets_for(std::uint32_t capacity) {
  return capacity / 3 + 1;
}

}  // namespace

FlowTable::FlowTable(std::uint32_t capacity, std::uint64_t secret, Connection* kept)
    : capacity_(std::clamp<std::uint32_t>(capacity, 1, largest_capacity)),
      bucket_count_(buckets_for(capacity_)),
      secret_(secret),
      pages_(bucket_count_ * sizeof(Bucket) + (kept == nullptr ? capacity_ * sizeof(Connection) : 0)),
      buckets_(reinterpret_cast<Bucket*>(pages_.data())),
      connections_(kept == nullptr ? reinterpret_cast<Connection*>(pages_.data() + bucket_count_ * sizeof(Bucket))
                                   : kept) {
  wheel_.fill(nobody);
}

// ---- searching -----------------------------------------------------------------------------------------------------

FlowTable::Reference FlowTable::find_in(const Bucket& bucket, const FlowKey& key, std::uint16_t tag) const noexcept {
  for (std::uint32_t places = matches(bucket, tag); places != 0; places &= places - 1) {
    const Reference reference(bucket.references[static_cast<std::size_t>(std::countr_zero(places))]);
    if (connections_[reference.connection()].side(reference.direction()).key == key) return reference;
  }
  return {};
}

FlowTable::Reference FlowTable::search(const FlowKey& key, std::uint64_t hash) const noexcept {
  const std::uint16_t tag = tag_of(hash);
  const Bucket& first = buckets_[first_bucket(hash)];
  if (const Reference found = find_in(first, key, tag)) return found;
  if (first.overflowed == 0) return {};
  return find_in(buckets_[second_bucket(hash)], key, tag);
}

// ---- adding and removing ---------------------------------------------------------------------------------------------

void FlowTable::put(Bucket& bucket, std::uint32_t place, std::uint16_t tag, Reference reference) noexcept {
  bucket.tags[place] = tag;
  bucket.references[place] = reference.value_;
}

/// Moves one of the bucket's keys to where else it may be.
bool FlowTable::make_room(Bucket& bucket) noexcept {
  for (std::uint32_t place = 0; place < bucket_slots; ++place) {
    const Reference reference(bucket.references[place]);
    const std::uint64_t its_hash = hash(connections_[reference.connection()].side(reference.direction()).key);
    Bucket& first = buckets_[first_bucket(its_hash)];
    Bucket& second = buckets_[second_bucket(its_hash)];
    Bucket& other = &first == &bucket ? second : first;
    const std::uint32_t free = matches(other, 0);
    if (free == 0) continue;
    put(other, static_cast<std::uint32_t>(std::countr_zero(free)), bucket.tags[place], reference);
    bucket.tags[place] = 0;
    &other == &first ? --first.overflowed : ++first.overflowed;
    return true;
  }
  return false;
}

bool FlowTable::add(std::uint64_t hash, Reference reference) noexcept {
  Bucket& first = buckets_[first_bucket(hash)];
  Bucket& second = buckets_[second_bucket(hash)];
  for (int attempt = 0; attempt < 2; ++attempt) {
    for (Bucket* bucket : {&first, &second}) {
      const std::uint32_t free = matches(*bucket, 0);
      if (free == 0) continue;
      put(*bucket, static_cast<std::uint32_t>(std::countr_zero(free)), tag_of(hash), reference);
      if (bucket == &second) ++first.overflowed;
      return true;
    }
    if (!make_room(first) && !make_room(second)) return false;
  }
  return false;
}

void FlowTable::remove(std::uint64_t hash, Reference reference) noexcept {
  const auto take_out = [&](Bucket& bucket) {
    for (std::uint32_t places = matches(bucket, tag_of(hash)); places != 0; places &= places - 1) {
      const auto place = static_cast<std::size_t>(std::countr_zero(places));
      if (bucket.references[place] != reference.value_) continue;
      bucket.tags[place] = 0;
      return true;
    }
    return false;
  };
  Bucket& first = buckets_[first_bucket(hash)];
  if (take_out(first)) return;
  if (take_out(buckets_[second_bucket(hash)])) --first.overflowed;
}

FlowTable::Inserted FlowTable::insert(const FlowKey& forward, const FlowKey& reverse, Tick now, Tick timeout) noexcept {
  if (free_ == nobody && untouched_ == capacity_) return {nullptr, Refusal::full};
  const std::uint64_t forward_hash = hash(forward);
  const std::uint64_t reverse_hash = hash(reverse);
  prefetch(reverse_hash);
  if (find(forward, forward_hash) || find(reverse, reverse_hash)) return {nullptr, Refusal::taken};

  const std::uint32_t index = free_ != nobody ? free_ : untouched_;
  Connection& connection = connections_[index];
  connection.sides = {Connection::Side{forward, {}}, Connection::Side{reverse, {}}};  // `make_room` looks at them
  const Reference there(index, Direction::forward);
  if (!add(forward_hash, there)) return {nullptr, Refusal::full};
  if (!(forward == reverse) && !add(reverse_hash, Reference(index, Direction::reverse))) {
    remove(forward_hash, there);
    return {nullptr, Refusal::full};
  }
  if (free_ != nobody) {
    free_ = connection.state.next;
  } else {
    ++untouched_;
  }
  ++size_;
  connection.state = {};
  connection.state.seen = now;
  std::atomic_ref(connection.state.timeout).store(std::max<Tick>(timeout, 1), std::memory_order_release);
  link(connection);
  return {&connection, Refusal::none};
}

void FlowTable::erase(Connection& connection) noexcept {
  const std::uint32_t index = index_of(connection);
  delist(connection);
  unlink(connection);
  release(connection);
  connection.state.next = free_;
  free_ = index;
  --size_;
}

void FlowTable::delist(const Connection& connection) noexcept {
  const std::uint32_t index = index_of(connection);
  const FlowKey& forward = connection.side(Direction::forward).key;
  const FlowKey& reverse = connection.side(Direction::reverse).key;
  const std::uint64_t forward_hash = hash(forward);
  prefetch(forward_hash);
  if (!(forward == reverse)) remove(hash(reverse), Reference(index, Direction::reverse));
  remove(forward_hash, Reference(index, Direction::forward));
}

/// False: one of its keys is another connection's, or has no place; `delist` takes back what was done.
bool FlowTable::enlist(const Connection& connection) noexcept {
  const std::uint32_t index = index_of(connection);
  const FlowKey& forward = connection.side(Direction::forward).key;
  const FlowKey& reverse = connection.side(Direction::reverse).key;
  const std::uint64_t forward_hash = hash(forward);
  const std::uint64_t reverse_hash = hash(reverse);
  prefetch(reverse_hash);
  if (find(forward, forward_hash) || find(reverse, reverse_hash)) return false;
  if (!add(forward_hash, Reference(index, Direction::forward))) return false;
  return forward == reverse || add(reverse_hash, Reference(index, Direction::reverse));
}

// ---- the wheel -------------------------------------------------------------------------------------------------------

void FlowTable::link(Connection& connection) noexcept {
  auto& state = connection.state;
  const Tick due = std::clamp(state.seen + state.timeout, wheel_now_ + 1, wheel_now_ + wheel_slots - 1);
  state.wheel_slot = static_cast<std::uint8_t>(due % wheel_slots);
  std::uint32_t& head = wheel_[state.wheel_slot];
  state.next = head;
  state.previous = nobody;
  if (head != nobody) connections_[head].state.previous = index_of(connection);
  head = index_of(connection);
}

void FlowTable::unlink(Connection& connection) noexcept {
  const auto& state = connection.state;
  (state.previous == nobody ? wheel_[state.wheel_slot] : connections_[state.previous].state.next) = state.next;
  if (state.next != nobody) connections_[state.next].state.previous = state.previous;
}

void FlowTable::set_timeout(Connection& connection, Tick timeout) noexcept {
  timeout = std::max<Tick>(timeout, 1);
  const bool is_shorter = timeout < connection.state.timeout;
  connection.state.timeout = timeout;
  if (!is_shorter) return;  // the wheel comes by early, sees that it is not over, and comes again
  unlink(connection);
  link(connection);
}

std::uint32_t FlowTable::expire(Tick now, std::uint32_t budget, OnExpired on_expired, void* context) noexcept {
  std::uint32_t looked_at = 0;
  while (looked_at < budget) {
    const std::uint32_t index = wheel_[wheel_now_ % wheel_slots];
    if (index == nobody) {
      if (wheel_now_ >= now) break;
      // After a long pause each slot is looked at once.
      wheel_now_ = std::max(wheel_now_ + 1, now >= wheel_slots ? now - wheel_slots + 1 : 0);
      continue;
    }
    ++looked_at;
    Connection& connection = connections_[index];
    const auto& state = connection.state;
    if (state.next != nobody) __builtin_prefetch(&connections_[state.next].state, 1);
    if (now - state.seen >= state.timeout) {
      on_expired(context, connection);
      erase(connection);
    } else {
      unlink(connection);
      link(connection);
    }
  }
  return looked_at;
}

}  // namespace ironcore::network::dataplane
