// SPDX-License-Identifier: Apache-2.0
// The tree: six bits a level.
#include "prefix_map.hpp"

#include <array>
#include <bit>
#include <new>
#include <utility>

namespace ironcore::network::dataplane {

namespace {

__extension__ using Wide = unsigned __int128;

constexpr unsigned stride = 6;
constexpr unsigned ways = 1U << stride;

Wide wide(PrefixBits bits) noexcept {
  return static_cast<Wide>(bits.high) << 64 | bits.low;
}
PrefixBits narrow(Wide bits) noexcept {
  return {static_cast<std::uint64_t>(bits >> 64), static_cast<std::uint64_t>(bits)};
}

/// The six bits that choose the way at this level.
unsigned way_at(Wide bits, unsigned level) noexcept {
  return static_cast<unsigned>((bits << (level * stride)) >> (128 - stride));
}

/// Prefixes that end inside a node, of 0 to 5 bits more, are numbered by length, then by their bits.
unsigned number_of(unsigned way, unsigned bits) noexcept {
  return (1U << bits) - 1 + (way >> (stride - bits));
}

/// For each way, the numbers of the prefixes that it begins with: the longest is the highest.
constexpr std::array<std::uint64_t, ways> prefixes_of_way = [] {
  std::array<std::uint64_t, ways> masks{};
  for (unsigned way = 0; way < ways; ++way)
    for (unsigned bits = 0; bits < stride; ++bits)
      masks[way] |= std::uint64_t{1} << ((1U << bits) - 1 + (way >> (stride - bits)));
  return masks;
}();

std::uint64_t bit(unsigned number) noexcept {
  return std::uint64_t{1} << number;
}
/// How many are set below `number`: the place in a list that leaves out what is not set.
unsigned place(std::uint64_t set, unsigned number) noexcept {
  return static_cast<unsigned>(std::popcount(set & (bit(number) - 1)));
}

}  // namespace

PrefixBits bits_of(const IpAddress& address) noexcept {
  std::uint64_t words[2] = {0, 0};
  const auto bytes = address.bytes();
  for (std::size_t i = 0; i < 16; ++i) words[i / 8] = words[i / 8] << 8 | (i < bytes.size() ? bytes[i] : 0U);
  return {words[0], words[1]};
}

PrefixBits first_bits(PrefixBits bits, unsigned length) noexcept {
  if (length == 0) return {};
  return narrow(wide(bits) >> (128 - length) << (128 - length));
}

/// One block of memory: this, then a pointer for each child, then a value for each prefix. Its size never changes; another number of
/// children or prefixes is another block.
struct PrefixMap::Node {
  std::uint64_t children = 0;  ///< by way
  std::uint64_t prefixes = 0;  ///< by number
  std::uint32_t references = 1;

  unsigned child_count() const noexcept { return static_cast<unsigned>(std::popcount(children)); }
  unsigned prefix_count() const noexcept { return static_cast<unsigned>(std::popcount(prefixes)); }
  static std::size_t bytes(std::uint64_t children, std::uint64_t prefixes) noexcept {
    return sizeof(Node) + static_cast<std::size_t>(std::popcount(children)) * sizeof(void*) +
           static_cast<std::size_t>(std::popcount(prefixes)) * sizeof(std::uint32_t);
  }
  Node** child(unsigned at) noexcept { return reinterpret_cast<Node**>(this + 1) + at; }
  std::uint32_t* value(unsigned at) noexcept {
    return reinterpret_cast<std::uint32_t*>(reinterpret_cast<Node**>(this + 1) + child_count()) + at;
  }

  /// Children and values are for the caller to fill in.
  static Node* make(std::uint64_t children, std::uint64_t prefixes) {
    auto* node = new (::operator new(bytes(children, prefixes))) Node;
    node->children = children;
    node->prefixes = prefixes;
    return node;
  }
  static void release(Node* node) noexcept {
    // A child that was just erased is null.
    if (node == nullptr || --node->references != 0) return;
    for (unsigned i = 0; i < node->child_count(); ++i) release(*node->child(i));
    ::operator delete(node);
  }

  /// A node with these children and prefixes, in place of `old`, which the caller gives up; what is in both keeps its child or value.
  static Node* reshape(Node* old, std::uint64_t children, std::uint64_t prefixes) {
    auto* node = make(children, prefixes);
    for (auto rest = old->children & children; rest != 0; rest &= rest - 1) {
      const auto way = static_cast<unsigned>(std::countr_zero(rest));
      auto* child = *old->child(place(old->children, way));
      ++child->references;
      *node->child(place(children, way)) = child;
    }
    for (auto rest = old->prefixes & prefixes; rest != 0; rest &= rest - 1) {
      const auto number = static_cast<unsigned>(std::countr_zero(rest));
      *node->value(place(prefixes, number)) = *old->value(place(old->prefixes, number));
    }
    release(old);
    return node;
  }
  /// `node` itself if nobody else has it: its parent must be so already.
  static Node* own(Node* node) { return node->references == 1 ? node : reshape(node, node->children, node->prefixes); }

  /// Both return what takes the place of `node`, which they take over and which may be null.
  static Node* set(Node* node, Wide bits, unsigned level, unsigned length, std::uint32_t new_value, bool& is_new);
  static Node* erase(Node* node, Wide bits, unsigned level, unsigned length);
  /// `behind`: null = all.
  bool visit(Wide bits, unsigned level, const Place* behind,
             const std::function<bool(PrefixBits, unsigned, std::uint32_t)>& each);
  std::size_t bytes_below() noexcept {
    auto sum = bytes(children, prefixes);
    for (unsigned i = 0; i < child_count(); ++i) sum += (*child(i))->bytes_below();
    return sum;
  }
};

PrefixMap::Node* PrefixMap::Node::set(Node* node, Wide bits, unsigned level, unsigned length, std::uint32_t new_value,
                                      bool& is_new) {
  if (node == nullptr) node = make(0, 0);
  const auto way = way_at(bits, level);
  if (length < (level + 1) * stride) {
    const auto number = number_of(way, length - level * stride);
    is_new = (node->prefixes & bit(number)) == 0;
    node = is_new ? reshape(node, node->children, node->prefixes | bit(number)) : own(node);
    *node->value(place(node->prefixes, number)) = new_value;
    return node;
  }
  const bool has_child = (node->children & bit(way)) != 0;
  node = has_child ? own(node) : reshape(node, node->children | bit(way), node->prefixes);
  auto** child = node->child(place(node->children, way));
  *child = set(has_child ? *child : nullptr, bits, level + 1, length, new_value, is_new);
  return node;
}

/// It is known to be there.
PrefixMap::Node* PrefixMap::Node::erase(Node* node, Wide bits, unsigned level, unsigned length) {
  const auto way = way_at(bits, level);
  auto children = node->children, prefixes = node->prefixes;
  if (length < (level + 1) * stride) {
    prefixes &= ~bit(number_of(way, length - level * stride));
  } else {
    node = own(node);
    auto** child = node->child(place(node->children, way));
    *child = erase(*child, bits, level + 1, length);
    if (*child != nullptr) return node;
    children &= ~bit(way);
  }
  if (children != 0 || prefixes != 0) return reshape(node, children, prefixes);
  release(node);
  return nullptr;
}

bool PrefixMap::Node::visit(Wide bits, unsigned level, const Place* behind,
                            const std::function<bool(PrefixBits, unsigned, std::uint32_t)>& each) {
  const unsigned first = behind == nullptr ? 0 : way_at(wide(behind->prefix), level);
  // Those of the same beginning are neighbours in the order of the ways: for each way first the prefixes that begin there, then the child.
  for (unsigned way = first; way < ways; ++way) {
    if (way != first) behind = nullptr;
    const auto at = bits | static_cast<Wide>(way) << (128 - stride) >> (level * stride);
    for (unsigned more = 0; more < stride; ++more) {
      const bool begins_here = (way & ((1U << (stride - more)) - 1)) == 0;
      const auto number = number_of(way, more);
      if (!begins_here || (prefixes & bit(number)) == 0) continue;
      const auto length = level * stride + more;
      const bool is_before =
          behind != nullptr && (at < wide(behind->prefix) || (at == wide(behind->prefix) && length <= behind->length));
      if (!is_before && !each(narrow(at), length, *value(place(prefixes, number)))) return false;
    }
    if ((children & bit(way)) != 0 && !(*child(place(children, way)))->visit(at, level + 1, behind, each)) return false;
  }
  return true;
}

PrefixMap::PrefixMap(const PrefixMap& other) noexcept : root_(other.root_), size_(other.size_) {
  if (root_ != nullptr) ++root_->references;
}
PrefixMap::PrefixMap(PrefixMap&& other) noexcept
    : root_(std::exchange(other.root_, nullptr)), size_(std::exchange(other.size_, 0)) {}
PrefixMap& PrefixMap::operator=(PrefixMap other) noexcept {
  std::swap(root_, other.root_);
  std::swap(size_, other.size_);
  return *this;
}
PrefixMap::~PrefixMap() {
  Node::release(root_);
}

std::optional<PrefixMap::Match> PrefixMap::find(PrefixBits address) const noexcept {
  const auto bits = wide(address);
  std::optional<Match> best;
  auto* node = root_;
  for (unsigned level = 0; node != nullptr; ++level) {
    const auto way = way_at(bits, level);
    if (const auto matching = node->prefixes & prefixes_of_way[way]; matching != 0) {
      const auto number = static_cast<unsigned>(63 - std::countl_zero(matching));
      const auto more = static_cast<unsigned>(std::bit_width(number + 1) - 1);
      best = Match{*node->value(place(node->prefixes, number)), level * stride + more};
    }
    if ((node->children & bit(way)) == 0) break;
    node = *node->child(place(node->children, way));
  }
  return best;
}

std::optional<std::uint32_t> PrefixMap::get(PrefixBits prefix, unsigned length) const noexcept {
  const auto bits = wide(first_bits(prefix, length));
  auto* node = root_;
  for (unsigned level = 0; node != nullptr; ++level) {
    const auto way = way_at(bits, level);
    if (length < (level + 1) * stride) {
      const auto number = number_of(way, length - level * stride);
      if ((node->prefixes & bit(number)) == 0) return std::nullopt;
      return *node->value(place(node->prefixes, number));
    }
    if ((node->children & bit(way)) == 0) return std::nullopt;
    node = *node->child(place(node->children, way));
  }
  return std::nullopt;
}

void PrefixMap::set(PrefixBits prefix, unsigned length, std::uint32_t value) {
  bool is_new = false;
  root_ = Node::set(root_, wide(first_bits(prefix, length)), 0, length, value, is_new);
  if (is_new) ++size_;
}

bool PrefixMap::erase(PrefixBits prefix, unsigned length) {
  if (!get(prefix, length)) return false;
  root_ = Node::erase(root_, wide(first_bits(prefix, length)), 0, length);
  --size_;
  return true;
}

void PrefixMap::for_each(const std::function<void(PrefixBits, unsigned, std::uint32_t)>& each) const {
  visit(std::nullopt, [&](PrefixBits prefix, unsigned length, std::uint32_t value) {
    each(prefix, length, value);
    return true;
  });
}

bool PrefixMap::visit(const std::optional<Place>& behind,
                      const std::function<bool(PrefixBits, unsigned, std::uint32_t)>& each) const {
  return root_ == nullptr || root_->visit(0, 0, behind ? &*behind : nullptr, each);
}

std::size_t PrefixMap::bytes() const noexcept {
  return root_ == nullptr ? 0 : root_->bytes_below();
}

}  // namespace ironcore::network::dataplane
