// SPDX-License-Identifier: Apache-2.0
// A header, the interfaces, the virtual services, the next hops, and the connections of one worker after the other.
#include "kept_flows.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "configuration_log.hpp"
#include "hash.hpp"
#include "ironcore/base/file.hpp"

namespace ironcore::network::dataplane {

namespace {

using Word = std::atomic<std::uint64_t>;
static_assert(Word::is_always_lock_free && sizeof(Word) == 8);

/// Another one when a field that is trusted after a restart has moved or means something else.
constexpr std::uint64_t version = 2;
std::uint64_t layout(std::uint64_t connections_at) noexcept {
  const std::uint64_t words[] = {
      version,
      connections_at,
      sizeof(Connection),
      offsetof(Connection, state),
      offsetof(Connection::Side, action),
      sizeof(Connection::Side),
      offsetof(ConnectionState, valid_at),
      offsetof(ConnectionState, owner),
      offsetof(ConnectionState, holds_port),
      offsetof(ConnectionState, is_one_sided),
      offsetof(ConnectionState, tcp),
      offsetof(ConnectionState, seen),
      offsetof(ConnectionState, timeout),
      offsetof(ConnectionState, packets),
      offsetof(ConnectionState, bytes),
      offsetof(Action, verdict),
      // What bytes stand for, too.
      static_cast<std::uint64_t>(Direction::reverse),
      static_cast<std::uint64_t>(Verdict::drop),
      static_cast<std::uint64_t>(Verdict::machine),
      static_cast<std::uint64_t>(Verdict::underlay),
      static_cast<std::uint64_t>(Verdict::plain),
      static_cast<std::uint64_t>(Verdict::here),
  };
  return hash_words(words);
}

constexpr std::array<char, 16> magic{'i', 'r', 'o', 'n', 'c', 'o', 'r', 'e', ' ', 'f', 'l', 'o', 'w', 's'};
constexpr std::size_t id_bytes = 64;
constexpr std::size_t hop_bytes = 16;

}  // namespace

struct alignas(64) KeptFlows::Header {
  std::array<char, 16> magic;
  std::uint64_t layout;
  std::uint64_t workers;
  std::uint64_t connections;
  std::array<std::uint8_t, 16> underlay;
  std::uint64_t secret;
  Word number;
};

struct KeptFlows::Interface {
  std::array<char, id_bytes> id;
  Word mac;  ///< 0 = not known; else 1 and its six bytes
  Word nat_born;
  Word home;  ///< 0 = none; else one more
};

struct KeptFlows::KeptService {
  Word suffix;
  Word born;
};

struct KeptFlows::Layout {
  static constexpr std::size_t interfaces_at = sizeof(Header);
  static constexpr std::size_t services_at = interfaces_at + interfaces * sizeof(Interface);
  static constexpr std::size_t hops_at = services_at + services * sizeof(KeptService);
  static constexpr std::size_t connections_at = hops_at + hops * hop_bytes;
  static_assert(connections_at % alignof(Connection) == 0);
  static std::size_t bytes(const Shape& shape) {
    return connections_at + shape.workers * shape.connections * sizeof(Connection);
  }
  /// Of what the file must be for this process.
  static void fill(Header& header, const Shape& shape) {
    header.magic = magic;
    header.layout = layout(connections_at);
    header.workers = shape.workers;
    header.connections = shape.connections;
    const IpAddress address = shape.underlay.first();
    std::copy(address.bytes().begin(), address.bytes().end(), header.underlay.begin());
  }
};

KeptFlows::KeptFlows(UniqueFd lock, std::byte* mapped, std::size_t bytes, std::uint32_t connections) noexcept
    : lock_(std::move(lock)), mapped_(mapped), bytes_(bytes), connections_(connections) {}

KeptFlows::~KeptFlows() {
  ::munmap(mapped_, bytes_);
}

Result<std::unique_ptr<KeptFlows>> KeptFlows::open(const std::filesystem::path& directory, const Shape& shape,
                                                   std::uint64_t secret, Log& log) {
  IRONCORE_TRY(auto lock, lock_directory(directory));
  const auto file = directory / "flows";
  const auto map = [&](int fd, std::size_t bytes) -> Result<std::unique_ptr<KeptFlows>> {
    void* mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) return system_error(errno, "map " + file.string());
    ::madvise(mapped, bytes, MADV_HUGEPAGE);  // only a wish
    return std::unique_ptr<KeptFlows>(
        new KeptFlows(std::move(lock), static_cast<std::byte*>(mapped), bytes, shape.connections));
  };
  /// In whole pages: those of hugetlbfs are large.
  const auto rounded = [](const struct stat& status, std::size_t bytes) {
    const auto page = static_cast<std::size_t>(std::max<blksize_t>(status.st_blksize, 1));
    return (bytes + page - 1) / page * page;
  };

  Header wanted{};
  Layout::fill(wanted, shape);
  UniqueFd fd(::open(file.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!fd && errno != ENOENT) return system_error(errno, "open " + file.string());
  struct stat status {};
  if (fd) {
    if (::fstat(fd.get(), &status) != 0) return system_error(errno, "look at " + file.string());
    const auto bytes = rounded(status, Layout::bytes(shape));
    if (S_ISREG(status.st_mode) && static_cast<std::size_t>(status.st_size) == bytes) {
      IRONCORE_TRY(auto kept, map(fd.get(), bytes));
      const auto& header = kept->header();
      const bool is_ours = header.magic == wanted.magic && header.layout == wanted.layout &&
                           header.workers == wanted.workers && header.connections == wanted.connections &&
                           header.underlay == wanted.underlay;
      if (is_ours) return kept;
      lock = std::move(kept->lock_);
    }
    log.warning(
        "kept connections are of another version, underlay, number of workers or number of connections: all begin anew",
        {{"file", file.string()}});
    // Before the new one is made: there may not be room for both.
    if (::unlink(file.c_str()) != 0) return system_error(errno, "remove " + file.string());
  }

  // Under another name until it is whole.
  const std::filesystem::path temporary = file.string() + ".new";
  ::unlink(temporary.c_str());
  fd.reset(::open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return system_error(errno, "create " + temporary.string());
  const auto give_up = [&](Error error) {
    ::unlink(temporary.c_str());
    return error;
  };
  if (::fstat(fd.get(), &status) != 0) return give_up(system_error(errno, "look at " + temporary.string()));
  const auto bytes = rounded(status, Layout::bytes(shape));
  if (::fallocate(fd.get(), 0, 0, static_cast<off_t>(bytes)) != 0)
    return give_up(system_error(errno, "take " + std::to_string(bytes) + " bytes for connections in " +
                                           directory.string() + " (or have fewer connections)"));
  auto kept = map(fd.get(), bytes);
  if (!kept) return give_up(kept.error());
  auto& header = (*kept)->header();
  Layout::fill(header, shape);
  header.secret = secret;
  if (::rename(temporary.c_str(), file.c_str()) != 0)
    return give_up(system_error(errno, "rename " + temporary.string()));
  return kept;
}

KeptFlows::Header& KeptFlows::header() const noexcept {
  return *reinterpret_cast<Header*>(mapped_);
}

KeptFlows::Interface* KeptFlows::interface_entry(std::uint32_t index) const noexcept {
  return index < interfaces ? reinterpret_cast<Interface*>(mapped_ + Layout::interfaces_at) + index : nullptr;
}

KeptFlows::KeptService* KeptFlows::service_entry(std::uint32_t index) const noexcept {
  return index < services ? reinterpret_cast<KeptService*>(mapped_ + Layout::services_at) + index : nullptr;
}

std::uint8_t* KeptFlows::hop_entry(std::uint32_t number) const noexcept {
  return number < hops ? reinterpret_cast<std::uint8_t*>(mapped_ + Layout::hops_at) + number * hop_bytes : nullptr;
}

std::uint64_t KeptFlows::secret() const noexcept {
  return header().secret;
}

Connection* KeptFlows::connections(std::size_t worker) noexcept {
  return reinterpret_cast<Connection*>(mapped_ + Layout::connections_at) + worker * connections_;
}

std::uint64_t KeptFlows::number() const noexcept {
  return header().number.load(std::memory_order_relaxed);
}

void KeptFlows::set_number(std::uint64_t number) noexcept {
  header().number.store(number, std::memory_order_release);
}

std::string_view KeptFlows::interface_at(std::uint32_t index) const noexcept {
  const auto* entry = interface_entry(index);
  if (entry == nullptr) return {};
  return {entry->id.data(),
          static_cast<std::size_t>(std::find(entry->id.begin(), entry->id.end(), '\0') - entry->id.begin())};
}

void KeptFlows::set_interface(std::uint32_t index, std::string_view id) noexcept {
  auto* entry = interface_entry(index);
  if (entry == nullptr) return;
  // The first letter is written last, so that there is no name before it is whole.
  const std::atomic_ref first(entry->id[0]);
  first.store('\0', std::memory_order_release);
  std::atomic_thread_fence(std::memory_order_release);
  entry->mac.store(0, std::memory_order_relaxed);
  entry->nat_born.store(0, std::memory_order_relaxed);
  entry->home.store(0, std::memory_order_relaxed);
  std::fill(entry->id.begin() + 1, entry->id.end(), '\0');
  if (id.empty() || id.size() >= id_bytes) return;
  std::copy(id.begin() + 1, id.end(), entry->id.begin() + 1);
  first.store(id[0], std::memory_order_release);
}

std::optional<MacAddress> KeptFlows::mac_of(std::uint32_t index) const noexcept {
  const auto* entry = interface_entry(index);
  std::uint64_t word = entry == nullptr ? 0 : entry->mac.load(std::memory_order_relaxed);
  if (word == 0) return std::nullopt;
  std::array<std::uint8_t, 6> bytes{};
  for (auto at = bytes.rbegin(); at != bytes.rend(); ++at, word >>= 8) *at = static_cast<std::uint8_t>(word);
  return MacAddress(bytes);
}

void KeptFlows::set_mac(std::uint32_t index, const MacAddress& mac) noexcept {
  std::uint64_t word = 1;
  for (const auto byte : mac.bytes()) word = word << 8 | byte;
  if (auto* entry = interface_entry(index)) entry->mac.store(word, std::memory_order_release);
}

std::optional<std::uint32_t> KeptFlows::home_of(std::uint32_t index) const noexcept {
  const auto* entry = interface_entry(index);
  const auto word = entry == nullptr ? 0 : entry->home.load(std::memory_order_relaxed);
  return word == 0 ? std::nullopt : std::optional(static_cast<std::uint32_t>(word - 1));
}

void KeptFlows::set_home(std::uint32_t index, std::uint32_t port) noexcept {
  if (auto* entry = interface_entry(index)) entry->home.store(std::uint64_t{port} + 1, std::memory_order_release);
}

std::uint64_t KeptFlows::nat_born(std::uint32_t index) const noexcept {
  const auto* entry = interface_entry(index);
  return entry == nullptr ? 0 : entry->nat_born.load(std::memory_order_relaxed);
}

void KeptFlows::set_nat_born(std::uint32_t index, std::uint64_t number) noexcept {
  if (auto* entry = interface_entry(index)) entry->nat_born.store(number, std::memory_order_release);
}

KeptFlows::Service KeptFlows::service_at(std::uint32_t index) const noexcept {
  const auto* entry = service_entry(index);
  if (entry == nullptr) return {};
  return {entry->suffix.load(std::memory_order_relaxed), entry->born.load(std::memory_order_relaxed)};
}

void KeptFlows::set_service(std::uint32_t index, const Service& service) noexcept {
  auto* entry = service_entry(index);
  if (entry == nullptr) return;
  // Nobody's while its number is of another one's ports.
  entry->suffix.store(0, std::memory_order_release);
  std::atomic_thread_fence(std::memory_order_release);
  entry->born.store(service.born, std::memory_order_relaxed);
  entry->suffix.store(service.suffix, std::memory_order_release);
}

std::optional<IpAddress> KeptFlows::hop_at(std::uint32_t number) const noexcept {
  const auto* entry = hop_entry(number);
  if (entry == nullptr || std::all_of(entry, entry + hop_bytes, [](std::uint8_t byte) { return byte == 0; }))
    return std::nullopt;
  std::array<std::uint8_t, hop_bytes> bytes{};
  std::copy_n(entry, hop_bytes, bytes.begin());
  return IpAddress::v6(bytes);
}

void KeptFlows::set_hop(std::uint32_t number, const IpAddress& underlay) noexcept {
  const auto bytes = underlay.bytes();
  if (auto* entry = hop_entry(number)) std::copy(bytes.begin(), bytes.end(), entry);
}

void KeptFlows::clear_hop(std::uint32_t number) noexcept {
  if (auto* entry = hop_entry(number)) std::fill_n(entry, hop_bytes, std::uint8_t{0});
}

}  // namespace ironcore::network::dataplane
