// SPDX-License-Identifier: Apache-2.0
// The file: a line that says what it is, then one for each port: name, MTU, MAC or `-`, and the device, which may hold spaces.
#include "ironcore/network/kept_ports.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "ironcore/base/file.hpp"

namespace ironcore::network {

namespace {

constexpr std::string_view header = "ironcore dataplane ports 1";
constexpr std::size_t largest_file = std::size_t{16} * 1024 * 1024;

std::string line_of(const PortSpec& spec) {
  return spec.name + ' ' + std::to_string(spec.mtu) + ' ' + (spec.mac ? spec.mac->to_text() : "-") + ' ' + spec.device +
         '\n';
}

std::optional<PortSpec> parse_line(std::string_view line) {
  const auto next = [&] {
    const auto word = line.substr(0, line.find(' '));
    line.remove_prefix(std::min(line.size(), word.size() + 1));
    return word;
  };
  PortSpec spec;
  spec.name = next();
  const auto mtu = next();
  const auto [end, failed] = std::from_chars(mtu.data(), mtu.data() + mtu.size(), spec.mtu);
  if (failed != std::errc() || end != mtu.data() + mtu.size()) return std::nullopt;
  if (const auto mac = next(); mac != "-") {
    const auto parsed = MacAddress::parse(mac);
    if (!parsed) return std::nullopt;
    spec.mac = *parsed;
  }
  spec.device = line;
  if (spec.device.empty() || !check(spec)) return std::nullopt;
  return spec;
}

}  // namespace

Result<std::unique_ptr<KeptPorts>> KeptPorts::create(Ports& ports, const std::filesystem::path& directory, Log& log) {
  std::unique_ptr<KeptPorts> out(new KeptPorts(ports, directory / "ports"));
  const auto text = read_file(out->file_, largest_file);
  if (!text && text.error().code() == ErrorCode::not_found) return out;
  if (!text) return text.error();
  std::string_view rest = *text;
  for (std::size_t number = 1; !rest.empty(); ++number) {
    const auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (number == 1 && line == header) continue;
    auto spec = number == 1 ? std::nullopt : parse_line(line);
    if (!spec)
      return Error(ErrorCode::corrupt, out->file_.string() + ", line " + std::to_string(number) +
                                           ": is not a port: put it right, or move the file away to begin without");
    out->specs_.insert_or_assign(spec->name, *std::move(spec));
  }
  for (const auto& [name, spec] : out->specs_) {
    if (const auto opened = ports.open(spec))
      log.info("port opened again", {{"port", name}, {"device", spec.device}});
    else
      log.warning("port could not be opened again", {{"port", name}, {"why", opened.error().message()}});
  }
  return out;
}

Result<PortState> KeptPorts::open(const PortSpec& spec) {
  std::lock_guard guard(mutex_);
  if (spec.device.find('\n') != std::string::npos)
    return Error(ErrorCode::invalid, "the device of a port is one line of text");
  const auto before = ports_.list();
  IRONCORE_TRY(auto state, ports_.open(spec));
  if (const auto known = specs_.find(spec.name); known != specs_.end() && known->second == spec) return state;
  auto specs = specs_;
  specs.insert_or_assign(spec.name, spec);
  if (auto written = write(specs); !written) {
    const bool is_new =
        std::none_of(before.begin(), before.end(), [&](const auto& port) { return port.spec.name == spec.name; });
    if (is_new) IRONCORE_CHECK(ports_.close(spec.name));
    return written.error();
  }
  specs_ = std::move(specs);
  return state;
}

Result<void> KeptPorts::close(const std::string& name) {
  std::lock_guard guard(mutex_);
  IRONCORE_CHECK(ports_.close(name));
  if (specs_.count(name) == 0) return {};
  auto specs = specs_;
  specs.erase(name);
  IRONCORE_CHECK(write(specs));
  specs_ = std::move(specs);
  return {};
}

Result<void> KeptPorts::write(const Specs& specs) const {
  std::string text = std::string(header) + '\n';
  for (const auto& [name, spec] : specs) text += line_of(spec);
  return within(atomic_write_file(file_, text, 0600), "keep the ports");
}

}  // namespace ironcore::network
