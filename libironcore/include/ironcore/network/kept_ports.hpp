// SPDX-License-Identifier: Apache-2.0
// Ports that are opened again after a restart.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "ironcore/base/log.hpp"
#include "ironcore/network/ports.hpp"

namespace ironcore::network {

/// Ports of somebody else; what is opened and closed through this is noted in a file before it returns, and everything else is passed on. So give
/// this to whoever opens ports for others, and the ports themselves to the dataplane. Thread: as the seam says.
class KeptPorts final : public Ports {
 public:
  /// Opens what the file `ports` of the directory says, as far as that is possible; what cannot be opened now stays noted, and the log says why. A
  /// port that is open already stays as it is. `corrupt`: the file is broken.
  static Result<std::unique_ptr<KeptPorts>> create(Ports& ports, const std::filesystem::path& directory, Log& log);

  Result<PortState> open(const PortSpec& spec) override;
  Result<void> close(const std::string& name) override;
  std::vector<PortState> list() const override { return ports_.list(); }
  Result<PortCounters> counters(const std::string& name) const override { return ports_.counters(name); }
  void on_change(std::function<void()> changed) override { ports_.on_change(std::move(changed)); }
  void wake(std::size_t queue) noexcept override { ports_.wake(queue); }
  std::size_t queues() const noexcept override { return ports_.queues(); }
  std::span<const std::uint32_t> polled(std::size_t queue) const noexcept override { return ports_.polled(queue); }
  std::size_t receive(std::uint32_t port, std::size_t queue, std::span<Packet> into) noexcept override {
    return ports_.receive(port, queue, into);
  }
  void send(std::size_t queue, std::span<const Packet> packets) noexcept override { ports_.send(queue, packets); }
  void release(std::span<const Packet> packets) noexcept override { ports_.release(packets); }
  std::optional<Packet> allocate(std::size_t queue) noexcept override { return ports_.allocate(queue); }
  void quiesce(std::size_t queue) noexcept override { ports_.quiesce(queue); }
  void leave(std::size_t queue) noexcept override { ports_.leave(queue); }
  void wait(std::size_t queue, std::uint64_t most_ns) noexcept override { ports_.wait(queue, most_ns); }

 private:
  using Specs = std::map<std::string, PortSpec>;
  KeptPorts(Ports& ports, std::filesystem::path file) : ports_(ports), file_(std::move(file)) {}
  Result<void> write(const Specs& specs) const;

  Ports& ports_;
  const std::filesystem::path file_;
  std::mutex mutex_;
  Specs specs_;
};

}  // namespace ironcore::network
