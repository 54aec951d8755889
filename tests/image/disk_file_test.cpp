// SPDX-License-Identifier: Apache-2.0
// Disk files that QEMU understands, judged by qemu-img where it is installed.
#include "ironcore/image/disk_file.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>

#include "../compute/temporary_directory.hpp"

namespace ironcore::tests {

using image::DiskFormat;

namespace {

bool has_qemu_img() {
  return std::system("command -v qemu-img >/dev/null 2>&1") == 0;
}

/// Runs qemu-img and gives what it printed.
std::string qemu_img(const std::filesystem::path& directory, const std::string& arguments) {
  const auto out = directory / "out";
  const std::string command = "qemu-img " + arguments + " >" + out.string() + " 2>&1";
  CHECK_MESSAGE(std::system(command.c_str()) == 0, command);
  std::ifstream in(out);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("an overlay is a sound qcow2 file that reads like its image and grows in place") {
  const TemporaryDirectory directory;
  const auto image = directory.path() / "image";
  std::ofstream(image) << std::string(3 << 20, 'i');
  const auto disk = directory.path() / "disk.qcow2";
  CHECK(image::create_overlay_disk(disk, (std::uint64_t{5} << 30) + 1, image).has_value());
  CHECK(image::disk_size(disk, DiskFormat::qcow2).value() == (std::uint64_t{5} << 30) + 512);
  CHECK(image::disk_backing(disk).value() == image);
  CHECK(image::looks_like_qcow2(disk).value());
  CHECK_FALSE(image::looks_like_qcow2(image).value());
  CHECK_FALSE(std::filesystem::exists(disk.string() + ".new"));
  CHECK((std::filesystem::status(disk).permissions() & std::filesystem::perms::all) ==
        (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));

  CHECK(image::grow_disk(disk, DiskFormat::qcow2, std::uint64_t{9} << 40).has_value());
  CHECK(image::grow_disk(disk, DiskFormat::qcow2, 1).has_value());
  CHECK(image::disk_size(disk, DiskFormat::qcow2).value() == std::uint64_t{9} << 40);
  if (!has_qemu_img()) return;
  CHECK(qemu_img(directory.path(), "check " + disk.string()).find("No errors were found") != std::string::npos);
  const auto info = qemu_img(directory.path(), "info " + disk.string());
  CHECK(info.find("backing file: " + image.string()) != std::string::npos);
  CHECK(info.find("backing file format: raw") != std::string::npos);
  CHECK(info.find("virtual size: 9 TiB") != std::string::npos);
  qemu_img(directory.path(),
           "dd if=" + disk.string() + " of=" + (directory.path() / "copy").string() + " -f qcow2 -O raw bs=1M count=3");
  CHECK(std::system(("cmp " + image.string() + " " + (directory.path() / "copy").string()).c_str()) == 0);
}

TEST_CASE("an empty disk is sparse and grows") {
  const TemporaryDirectory directory;
  const auto disk = directory.path() / "disk.raw";
  CHECK(image::create_raw_disk(disk, std::uint64_t{1} << 40).has_value());
  CHECK(image::disk_size(disk, DiskFormat::raw).value() == std::uint64_t{1} << 40);
  CHECK(image::grow_disk(disk, DiskFormat::raw, std::uint64_t{2} << 40).has_value());
  CHECK(image::disk_size(disk, DiskFormat::raw).value() == std::uint64_t{2} << 40);
}

TEST_CASE("impossible disks are refused and leave nothing") {
  const TemporaryDirectory directory;
  const auto disk = directory.path() / "disk";
  const auto code = [](const auto& result) { return result.error().code(); };
  CHECK(code(image::create_raw_disk(disk, 0)) == ErrorCode::invalid);
  CHECK(code(image::create_raw_disk(disk, (std::uint64_t{16} << 40) + 1)) == ErrorCode::invalid);
  CHECK(code(image::create_overlay_disk(disk, 1 << 20, "")) == ErrorCode::invalid);
  CHECK(code(image::create_overlay_disk(disk, 1 << 20, "/" + std::string(1023, 'x'))) == ErrorCode::invalid);
  CHECK(code(image::create_raw_disk(directory.path() / "absent" / "disk", 1)) == ErrorCode::not_found);
  CHECK(code(image::disk_size(disk, DiskFormat::raw)) == ErrorCode::not_found);
  CHECK(std::filesystem::is_empty(directory.path()));

  std::ofstream(disk) << "no qcow2 file";
  CHECK(code(image::disk_size(disk, DiskFormat::qcow2)) == ErrorCode::corrupt);
  CHECK(code(image::grow_disk(disk, DiskFormat::qcow2, 1 << 20)) == ErrorCode::corrupt);
  std::ofstream(disk) << std::string("QFI\xfb", 4) + std::string(200, '\xff');
  CHECK(code(image::disk_size(disk, DiskFormat::qcow2)) == ErrorCode::corrupt);
  CHECK(code(image::disk_backing(disk)) == ErrorCode::corrupt);
}

TEST_CASE("a disk made for less is not bent") {
  if (!has_qemu_img()) return;
  const TemporaryDirectory directory;
  const auto disk = directory.path() / "disk";
  qemu_img(directory.path(), "create -f qcow2 " + disk.string() + " 1G");
  CHECK(image::grow_disk(disk, DiskFormat::qcow2, std::uint64_t{1} << 40).error().code() == ErrorCode::unsupported);
  CHECK(qemu_img(directory.path(), "info " + disk.string()).find("virtual size: 1 GiB") != std::string::npos);
}

}  // namespace ironcore::tests
