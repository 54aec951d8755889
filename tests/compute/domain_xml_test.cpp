// SPDX-License-Identifier: Apache-2.0
// The XML that libvirt is given, piece by piece, and what is read back from libvirt's.
#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "../../libironcore/src/compute/libvirt/domain_xml.hpp"
#include "../../libironcore/src/compute/libvirt/errors.hpp"
#include "../../libironcore/src/compute/libvirt/secrets.hpp"

namespace ironcore::tests {

using namespace compute;
using compute::libvirt::domain_xml;
using compute::libvirt::Driver;
using compute::libvirt::parse_xml;
using compute::libvirt::XmlElement;

namespace {

DomainSpec full_spec() {
  DomainSpec spec;
  spec.uid = Uid::parse("6d1c1c6e-52a5-4b33-9a51-0c3f2f6d2d11").value();
  spec.name = "ironcore-web";
  spec.title = "web-1";
  spec.vcpus = 2;
  spec.memory_bytes = std::uint64_t{1} << 30;
  spec.accelerator = Accelerator::tcg;
  spec.disks.push_back({"root", "vda", "vda-0123456789abcdef", "/m/root.qcow2", "qcow2", "/images/blob"});
  spec.disks.push_back({"data/1", "vdb", "", "/dev/vg/data", "raw", {}});
  const auto mac = MacAddress::parse("52:54:00:11:22:33").value();
  spec.nics.push_back({"user", mac, UserNetwork{}});
  spec.nics.push_back({"net", mac, LibvirtNetwork{"default"}});
  spec.nics.push_back({"tap", mac, Tap{"tap0"}});
  spec.nics.push_back({"vhost", mac, VhostUser{"/run/vhost.sock"}});
  spec.nics.push_back({"vf", mac, PciDevice{"0000:3b:02.1"}});
  spec.kernel = DomainKernel{"/m/kernel", "/m/initramfs", "console=ttyS0 quiet"};
  spec.console_log = "/m/console.log";
  spec.ignition = "/secrets/ignition";
  spec.hostname = "web-1.example";
  spec.labels = {{"team", "a"}};
  return spec;
}

bool has(const std::string& xml, std::string_view piece) {
  return xml.find(piece) != std::string::npos;
}

}  // namespace

TEST_CASE("a definition says what the machine is, word for word") {
  const auto spec = full_spec();
  const std::string xml = domain_xml(spec);
  for (const char* piece : {
           "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>",
           "<name>ironcore-web</name>",
           "<uuid>6d1c1c6e-52a5-4b33-9a51-0c3f2f6d2d11</uuid>",
           "<title>web-1</title>",
           "<metadata><ironcore:machine xmlns:ironcore='https://ironcore.dev/libironcore/machine/1'>"
           "<ironcore:label key='team'>a</ironcore:label></ironcore:machine></metadata>",
           "<memory unit='b'>1073741824</memory>",
           "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>",
           "<vcpu>2</vcpu>",
           "<cpu mode='maximum'/>",
           "<sysinfo type='fwcfg'><entry name='opt/com.coreos/config' file='/secrets/ignition'/>"
           "<entry name='opt/ironcore/hostname'>web-1.example</entry></sysinfo>",
           "<kernel>/m/kernel</kernel><initrd>/m/initramfs</initrd><cmdline>console=ttyS0 quiet</cmdline></os>",
           "<on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>",
           "<serial type='pty'><log file='/m/console.log' append='on'/>",
           "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>",
           "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>",
           "<disk type='file' device='disk'><driver name='qemu' type='qcow2' discard='unmap' queues='2'/>"
           "<source file='/m/root.qcow2'/><backingStore type='file'><format type='raw'/><source file='/images/blob'>"
           "<seclabel model='dac' relabel='no'/></source><backingStore/></backingStore>"
           "<target dev='vda' bus='virtio'/><serial>vda-0123456789abcdef</serial><alias name='ua-disk-root'/></disk>",
           "<disk type='block' device='disk'><driver name='qemu' type='raw' discard='unmap' queues='2'/>"
           "<source dev='/dev/vg/data'/><target dev='vdb' bus='virtio'/><alias name='ua-disk-data_2f1'/></disk>",
           "<interface type='user'><mac address='52:54:00:11:22:33'/><model type='virtio'/><alias "
           "name='ua-nic-user'/></interface>",
           "<interface type='network'><source network='default'/><mac",
           "<interface type='ethernet'><target dev='tap0' managed='no'/><mac",
           "<interface type='vhostuser'><source type='unix' path='/run/vhost.sock' mode='server'/><mac",
           "<interface type='hostdev' managed='yes'><source><address type='pci' domain='0x0000' bus='0x3b' slot='0x02' "
           "function='0x1'/></source><mac address='52:54:00:11:22:33'/><alias name='ua-nic-vf'/></interface>",
           "<pm><suspend-to-mem enabled='no'/><suspend-to-disk enabled='no'/></pm>",
           "<qemu:override>\n<qemu:device alias='ua-nic-vhost'><qemu:frontend><qemu:property name='vectors' "
           "type='unsigned' "
           "value='0'/></qemu:frontend></qemu:device>\n</qemu:override>",
       }) {
    CHECK_MESSAGE(has(xml, piece), piece);
  }
  CHECK_FALSE(has(xml, "<boot "));
  CHECK(parse_xml(xml).has_value());
}

TEST_CASE("a disk on Ceph names its image, its monitors and its secrets, whose values are nowhere") {
  auto spec = full_spec();
  DomainDisk disk;
  disk.name = "data/1";
  disk.target = "vdc";
  disk.serial = "vdc-0123456789abcdef";
  disk.rbd = RbdImage{.monitors = {"10.0.0.1:6789", "[fd00::1]:3300"},
                      .pool = "pool",
                      .space = "tenant",
                      .image = "img_1",
                      .user = "tenant.<1>",
                      .is_encrypted = false};
  disk.rbd_settings = "/m/rbd.conf";
  disk.limits = {.iops = 100,
                 .bytes_per_second = 2'000'000'000'000'000,
                 .burst_iops = 1000,
                 .burst_bytes_per_second = 1000,
                 .burst = std::chrono::seconds(15)};
  spec.disks = {disk};
  const auto key = libvirt::secret_uid(spec.uid, disk.name, libvirt::SecretKind::key).to_text();
  const auto passphrase = libvirt::secret_uid(spec.uid, disk.name, libvirt::SecretKind::passphrase).to_text();
  const auto both = libvirt::secret_uid(spec.uid, disk.name, libvirt::SecretKind::both).to_text();
  CHECK(std::set<std::string>{key, passphrase, both}.size() == 3);
  const std::string begin =
      "<disk type='network' device='disk'><driver name='qemu' type='raw' discard='unmap' queues='2'/>"
      "<source protocol='rbd' name='pool/tenant/img_1'><host name='10.0.0.1' port='6789'/>"
      "<host name='fd00::1' port='3300'/><config file='/m/rbd.conf'/><auth username='tenant.&lt;1&gt;'>";
  // A burst that is not above its limit means nothing, and nothing is faster than QEMU can count.
  const std::string end =
      "</source><target dev='vdc' bus='virtio'/><iotune><total_bytes_sec>1000000000000000</total_bytes_sec>"
      "<total_iops_sec>100</total_iops_sec><total_iops_sec_max>1000</total_iops_sec_max>"
      "<total_iops_sec_max_length>15</total_iops_sec_max_length></iotune>"
      "<serial>vdc-0123456789abcdef</serial><alias name='ua-disk-data_2f1'/></disk>";
  CHECK(has(domain_xml(spec), begin + "<secret type='ceph' uuid='" + key + "'/></auth>" + end));

  spec.disks[0].rbd->is_encrypted = true;
  const auto xml = domain_xml(spec, Driver::qemu, "/lib/space.so");
  CHECK(has(xml, begin + "<secret type='ceph' uuid='" + key +
                     "'/></auth><encryption format='luks2' engine='librbd'><secret type='passphrase' uuid='" +
                     passphrase + "'/></encryption>" + end));
  CHECK(has(xml, "<qemu:commandline><qemu:env name='LD_PRELOAD' value='/lib/space.so'/></qemu:commandline>"));
  const auto parsed = parse_xml(xml).value();
  CHECK(libvirt::preload_of(parsed) == "/lib/space.so");
  CHECK(libvirt::disk_place(parsed, spec.uid, disk.name).header_bytes == 16 << 20);
  CHECK(libvirt::preload_of(parse_xml(domain_xml(spec)).value()).empty());

  const auto plugged = libvirt::disk_xml(spec.disks[0], spec.uid, 2, false, libvirt::Opener::preload);
  CHECK(plugged == begin + "<secret type='ceph' uuid='" + both + "'/></auth>" + end + "\n");
  const auto domain = parse_xml("<domain><devices>" + plugged + "</devices></domain>").value();
  CHECK(libvirt::disk_place(domain, spec.uid, disk.name).header_bytes == 16 << 20);
  spec.disks[0].rbd->is_encrypted = false;
  spec.disks[0].rbd->space.clear();
  CHECK(has(libvirt::disk_xml(spec.disks[0], spec.uid, 2, false, libvirt::Opener::preload),
            "<secret type='ceph' uuid='" + key + "'/>"));
  CHECK(has(domain_xml(spec), "name='pool/img_1'"));
}

TEST_CASE("the agent's socket can be given a place") {
  auto spec = full_spec();
  spec.agent_socket = "/m/agent.sock";
  CHECK(has(domain_xml(spec), "<channel type='unix'><source mode='bind' path='/m/agent.sock'/><target type='virtio'"));
}

TEST_CASE("what QEMU prints reads the same each time it fails in the same way") {
  using compute::libvirt::tidy;
  CHECK(tidy("process exited: 2026-11-24T16:28:14.123456Z qemu-system-x86_64: -device x: no\n"
             "2026-11-24T16:28:15.1Z qemu-system-x86_64: more\n") == "process exited: -device x: no more");
  CHECK(tidy("at 12:00Z qemu-system-x86_64") == "at 12:00Z qemu-system-x86_64");
  CHECK(tidy("plain") == "plain");
  const auto told = tidy("internal error: encryption load fail: Operation not permitted\n");
  CHECK(told.starts_with("internal error: encryption load fail: Operation not permitted; the key that the host has"));
  CHECK(told.find("ironcorectl describe volume") != std::string::npos);
}

TEST_CASE("a machine without a kernel boots from its first disk") {
  auto spec = full_spec();
  spec.kernel.reset();
  const std::string xml = domain_xml(spec);
  CHECK(has(xml, "<serial>vda-0123456789abcdef</serial><boot order='1'/><alias name='ua-disk-root'/>"));
  CHECK(xml.find("<boot ") == xml.rfind("<boot "));
  CHECK_FALSE(has(xml, "<kernel>"));
}

TEST_CASE("with KVM the guest sees the host's processor and vhost-user needs no workaround") {
  auto spec = full_spec();
  spec.accelerator = Accelerator::kvm;
  const std::string xml = domain_xml(spec);
  CHECK(has(xml, "<domain type='kvm'"));
  CHECK(has(xml, "<cpu mode='host-passthrough'/>"));
  CHECK_FALSE(has(xml, "qemu:override"));
}

TEST_CASE("what is not asked for is not mentioned") {
  DomainSpec spec;
  spec.uid = Uid::random();
  spec.name = "plain";
  spec.memory_bytes = 1 << 30;
  const std::string xml = domain_xml(spec);
  for (const char* piece : {"<title>", "<sysinfo", "<log ", "<disk", "<interface", "<hostdev", "qemu:override"}) {
    CHECK_MESSAGE(!has(xml, piece), piece);
  }
  const std::string test = domain_xml(spec, Driver::test);
  CHECK(has(test, "<domain type='test'"));
  CHECK_FALSE(has(test, "memfd"));
}

TEST_CASE("there is a port for every device and some to spare") {
  auto spec = full_spec();
  const auto ports = [](const std::string& xml) {
    std::size_t count = 0;
    for (std::size_t at = xml.find("pcie-root-port"); at != std::string::npos; at = xml.find("pcie-root-port", at + 1))
      ++count;
    return count;
  };
  CHECK(ports(domain_xml(spec)) == 2 + 5 + 3 + 4);
  spec.accelerator = Accelerator::kvm;
  CHECK(ports(domain_xml(spec)) == 2 + 5 + 3 + 8);
  spec.nics.clear();
  CHECK(ports(domain_xml(spec)) == 2 + 3 + 8);
}

TEST_CASE("text from people stays text") {
  auto spec = full_spec();
  const std::string hostile = "'/><x y=\"&amp;\">\n]]>\x01\xff\xc3\xa4\xed\xa0\x80";
  spec.title = hostile;
  spec.hostname = hostile;
  spec.labels = {{hostile, hostile}};
  spec.disks[0].name = hostile;
  spec.disks[0].serial = hostile;
  spec.disks[0].path = hostile;
  spec.nics[0].name = hostile;
  spec.nics[1].device = LibvirtNetwork{hostile};
  spec.kernel->command_line = hostile;
  const auto xml = parse_xml(domain_xml(spec));
  REQUIRE(xml.has_value());
  const auto plain = parse_xml(domain_xml(full_spec()));
  CHECK(xml->children.size() == plain->children.size());
  CHECK(xml->child("devices")->children.size() == plain->child("devices")->children.size());
  const std::string readable =
      "'/><x y=\"&amp;\">\n]]>\xef\xbf\xbd\xef\xbf\xbd\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd";
  CHECK(xml->child("os")->child("cmdline")->text == readable);
  CHECK(xml->child("title")->text.find('\n') == std::string::npos);
  CHECK(xml->child("metadata")->children[0].children[0].attribute("key") == readable);
  const auto domain = libvirt::read_domain(*xml);
  REQUIRE(domain.has_value());
  CHECK(domain->disks[0] == hostile);  // names survive byte by byte
  CHECK(domain->nics[0] == hostile);
}

TEST_CASE("a definition is read back as it was written, and one without our mark is not ours") {
  const auto spec = full_spec();
  auto xml = parse_xml(domain_xml(spec)).value();
  auto domain = libvirt::read_domain(xml);
  REQUIRE(domain.has_value());
  CHECK(domain->uid == spec.uid);
  CHECK(domain->name == spec.name);
  CHECK(domain->title == spec.title);
  CHECK(domain->disks == std::vector<std::string>{"root", "data/1"});
  CHECK(domain->nics == std::vector<std::string>{"user", "net", "tap", "vhost", "vf"});
  CHECK_FALSE(domain->is_agent_connected);
  CHECK(libvirt::disk_place(xml, spec.uid, "data/1").target == "vdb");
  CHECK(libvirt::disk_place(xml, spec.uid, "data/1").header_bytes == 0);
  CHECK(libvirt::disk_place(xml, spec.uid, "absent").target.empty());

  // libvirt may choose another prefix; the namespace counts.
  const std::string ours =
      "<domain><uuid>6d1c1c6e-52a5-4b33-9a51-0c3f2f6d2d11</uuid><metadata><a:machine xmlns:a="
      "'https://ironcore.dev/libironcore/machine/1'/></metadata><devices><channel><target "
      "name='org.qemu.guest_agent.0' state='connected'/></channel><disk><alias name='virtio-disk0'/></disk>"
      "<interface><alias name='ua-nic-_zz'/></interface></devices></domain>";
  domain = libvirt::read_domain(parse_xml(ours).value());
  REQUIRE(domain.has_value());
  CHECK(domain->is_agent_connected);
  CHECK(domain->disks.empty());
  CHECK(domain->nics.empty());
  std::string foreign = ours;
  foreign.replace(foreign.find("machine/1"), 9, "machine/2");
  CHECK_FALSE(libvirt::read_domain(parse_xml(foreign).value()).has_value());
  CHECK_FALSE(libvirt::read_domain(parse_xml("<domain/>").value()).has_value());
}

TEST_CASE("XML is read with entities, comments and character data, and bad XML is refused") {
  const auto read = parse_xml(
      "<?xml version='1.0'?>\n<!-- c --><a x='1&lt;2' y=\"&#x41;&#66;\"> t<b/><![CDATA[<raw>]]><!-- c -->&amp;</a>\n");
  REQUIRE(read.has_value());
  CHECK(read->attribute("x") == "1<2");
  CHECK(read->attribute("y") == "AB");
  CHECK(read->text == " t<raw>&");
  CHECK(read->children.size() == 1);
  CHECK(read->child("c") == nullptr);
  for (const char* bad :
       {"", "a", "<", "<a", "<a>", "<a></b>", "<a x></a>", "<a x=1/>", "<a x='1/>", "<a>&bad;</a>", "<a>&#;</a>",
        "<a>&#x110000;</a>", "<a>&#xZ;</a>", "<a>&lt</a>", "<a/><b/>", "<!-- ", "<a><![CDATA[</a>", "<a/>x"}) {
    CHECK_MESSAGE(!parse_xml(bad).has_value(), bad);
  }
  std::string deep;
  for (int i = 0; i < 10000; ++i) deep += "<a>";
  CHECK_FALSE(parse_xml(deep).has_value());
}

}  // namespace ironcore::tests
