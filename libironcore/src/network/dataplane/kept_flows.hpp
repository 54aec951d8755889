// SPDX-License-Identifier: Apache-2.0
// The connections of all workers in memory that outlives the process, and what their numbers stand for.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>

#include "connection.hpp"
#include "ironcore/base/ip_address.hpp"
#include "ironcore/base/log.hpp"
#include "ironcore/base/mac_address.hpp"
#include "ironcore/base/prefix.hpp"
#include "ironcore/base/result.hpp"
#include "ironcore/base/unique_fd.hpp"

namespace ironcore::network::dataplane {

/// The file `flows` of a directory in memory (tmpfs, or hugetlbfs), mapped. Workers write their connections there as they would anywhere else; a
/// process that dies at any moment leaves at most one connection of each worker half made, and that one is recognised (`FlowTable::adopt`). Nothing
/// else of a flow table is kept: buckets, the wheel and free places are made anew. All of the room is taken when the file is made: a
/// full tmpfs must not end a worker later. Thread: connections those of their worker; numbers one.
class KeptFlows {
 public:
  struct Shape {
    Prefix underlay;
    std::size_t workers = 1;
    std::uint32_t connections = 0;  ///< of each worker
  };
  static constexpr std::uint32_t interfaces = 4096;
  static constexpr std::uint32_t services = 256;
  static constexpr std::uint32_t hops =
      65'536;  ///< flows to hops with larger numbers may find another one after a restart

  /// A file of another shape or version is replaced, and the log says so. `secret` is for a new file. `exhausted`: there is no room.
  static Result<std::unique_ptr<KeptFlows>> open(const std::filesystem::path& directory, const Shape& shape,
                                                 std::uint64_t secret, Log& log);
  ~KeptFlows();
  KeptFlows(const KeptFlows&) = delete;
  KeptFlows& operator=(const KeptFlows&) = delete;

  /// The one of the first process: hashes stay the same.
  std::uint64_t secret() const noexcept;
  /// Room for `Shape::connections`.
  Connection* connections(std::size_t worker) noexcept;

  // ---- numbers: noted before a worker can use them ----

  /// Of the newest configuration; those of later ones are larger.
  std::uint64_t number() const noexcept;
  void set_number(std::uint64_t number) noexcept;
  /// Empty = nobody has the number.
  std::string_view interface_at(std::uint32_t index) const noexcept;
  void set_interface(std::uint32_t index, std::string_view id) noexcept;
  void clear_interface(std::uint32_t index) noexcept { set_interface(index, {}); }
  /// The machine's, as it was learned.
  std::optional<MacAddress> mac_of(std::uint32_t index) const noexcept;
  void set_mac(std::uint32_t index, const MacAddress& mac) noexcept;
  /// The number of the port that it had first (`Attachment::home`).
  std::optional<std::uint32_t> home_of(std::uint32_t index) const noexcept;
  void set_home(std::uint32_t index, std::uint32_t port) noexcept;
  /// Of the ports of an interface's NAT (`NatPool::born`).
  std::uint64_t nat_born(std::uint32_t index) const noexcept;
  void set_nat_born(std::uint32_t index, std::uint64_t number) noexcept;
  /// A virtual service's ports are those of its underlay address, of which this is what is behind the host's prefix.
  struct Service {
    std::uint64_t suffix = 0;  ///< 0 = nobody has the number
    std::uint64_t born = 0;    ///< of its ports (`NatPool::born`)
  };
  Service service_at(std::uint32_t index) const noexcept;
  void set_service(std::uint32_t index, const Service& service) noexcept;
  std::optional<IpAddress> hop_at(std::uint32_t number) const noexcept;
  void set_hop(std::uint32_t number, const IpAddress& underlay) noexcept;
  void clear_hop(std::uint32_t number) noexcept;

 private:
  struct Header;
  struct Interface;
  struct KeptService;
  struct Layout;
  KeptFlows(UniqueFd lock, std::byte* mapped, std::size_t bytes, std::uint32_t connections) noexcept;
  Header& header() const noexcept;
  Interface* interface_entry(std::uint32_t index) const noexcept;
  KeptService* service_entry(std::uint32_t index) const noexcept;
  std::uint8_t* hop_entry(std::uint32_t number) const noexcept;

  UniqueFd lock_;
  std::byte* mapped_;
  std::size_t bytes_;
  std::uint32_t connections_;
};

}  // namespace ironcore::network::dataplane
