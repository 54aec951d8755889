// SPDX-License-Identifier: Apache-2.0
// What is wrong with options and ports, found out without DPDK being started.
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <algorithm>

#include "device_words.hpp"
#include "ironcore/network/dpdk.hpp"

namespace ironcore::network::dpdk {

namespace {

using Errors = std::vector<FieldError>;
using Reason = FieldError::Reason;

constexpr std::size_t most_queues = 64;
constexpr std::size_t most_buffer_bytes = 65'535 - RTE_PKTMBUF_HEADROOM;
constexpr std::size_t mebibyte = 1024 * 1024;

void check_card(const EalOptions& eal, const DeviceWords& words, const std::string& field, Errors& errors) {
  if (words.kind != Kind::pci || std::find(eal.cards.begin(), eal.cards.end(), words.name) != eal.cards.end()) return;
  errors.push_back({field, Reason::forbidden, words.name + " is none of the cards that may be opened"});
}

/// A name or a device that an earlier port has too. Of files and nothing there can be many.
void check_twice(std::span<const PortSpec> earlier, const PortSpec& port, const DeviceWords& words,
                 const std::string& field, Errors& errors) {
  const bool is_shared = words.kind == Kind::null || words.kind == Kind::pcap;
  for (const auto& other : earlier) {
    if (other.name == port.name) errors.push_back({field + ".name", Reason::duplicate, port.name + " is named twice"});
    if (!is_shared && other.device == port.device)
      errors.push_back(
          {field + ".device", Reason::duplicate, port.device + " cannot be of " + other.name + " and " + port.name});
  }
}

}  // namespace

Result<void> check(const EalOptions& options) {
  Errors errors;
  if (options.memory_mib < 16 || options.memory_mib > mebibyte)
    errors.push_back({"memory_mib", Reason::invalid, "must be 16 to 1048576"});
  for (std::size_t i = 0; i < options.cards.size(); ++i) {
    const auto field = "cards[" + std::to_string(i) + "]";
    const auto& card = options.cards[i];
    const auto here = options.cards.begin() + static_cast<std::ptrdiff_t>(i);
    if (!is_pci_address(card)) errors.push_back({field, Reason::invalid, "must be like 0000:01:00.0"});
    if (std::find(options.cards.begin(), here, card) != here)
      errors.push_back({field, Reason::duplicate, card + " is named twice"});
  }
  const bool is_prefix = !options.prefix.empty() && options.prefix.size() <= 32 &&
                         std::all_of(options.prefix.begin(), options.prefix.end(), is_word_character);
  if (!is_prefix) errors.push_back({"prefix", Reason::invalid, "must be 1 to 32 letters, digits, '-' and '_'"});
  if (!errors.empty()) return Error(std::move(errors));
  return {};
}

Result<void> check(const PortsOptions& options) {
  Errors errors;
  if (options.queues < 1 || options.queues > most_queues)
    errors.push_back({"queues", Reason::invalid, "must be 1 to " + std::to_string(most_queues)});
  if (options.buffers < 1024 || options.buffers > (1U << 26))
    errors.push_back({"buffers", Reason::invalid, "must be 1024 to 67108864"});
  if (options.buffer_bytes < 2048 || options.buffer_bytes > most_buffer_bytes)
    errors.push_back({"buffer_bytes", Reason::invalid, "must be 2048 to " + std::to_string(most_buffer_bytes)});
  if (!errors.empty()) return Error(std::move(errors));
  return {};
}

Result<void> check(const EalOptions& eal, const PortsOptions& options, std::span<const PortSpec> ports) {
  IRONCORE_CHECK(check(eal));
  IRONCORE_CHECK(check(options));
  const auto one_buffer = sizeof(rte_mempool_objhdr) + sizeof(rte_mbuf) + RTE_PKTMBUF_HEADROOM + options.buffer_bytes;
  const auto most = eal.memory_mib * mebibyte / one_buffer;
  Errors errors;
  if (options.buffers > most)
    errors.push_back({"buffers", Reason::invalid,
                      std::to_string(options.buffers) + " do not fit into " + std::to_string(eal.memory_mib) +
                          " MiB, at most " + std::to_string(most) + " do, and queues need some of it too"});
  for (std::size_t i = 0; i < ports.size(); ++i) {
    const auto field = "ports[" + std::to_string(i) + "]";
    const auto words = parse_device(ports[i].device);
    if (!words) {
      const auto wrong = words.error();
      for (const auto& error : wrong.fields())
        errors.push_back({field + ".device", error.reason, ports[i].name + ": " + error.message});
      continue;
    }
    check_card(eal, *words, field + ".device", errors);
    check_twice(ports.first(i), ports[i], *words, field, errors);
  }
  if (!errors.empty()) return Error(std::move(errors));
  return {};
}

}  // namespace ironcore::network::dpdk
