#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A rule that finds nothing proves nothing: each check is shown what it has to find."""
import pathlib
import sys
import tempfile
import tomllib
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import check_rules  # noqa: E402

RULES = tomllib.loads((pathlib.Path(__file__).resolve().parent / "rules.toml").read_text())


class Rules(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name).resolve()

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def foreign(self, name, text):
        self.write(name, text)
        return list(check_rules.check_foreign_headers(self.root, RULES))

    def test_a_foreign_header_in_the_wrong_folder_is_found(self):
        self.assertEqual(self.foreign("libironcore/src/control/a.cpp", "#include <zmq.h>\n"),
                         ["libironcore/src/control/a.cpp: 'zmq.h' belongs to base/wire, store/zmq"])

    def test_a_header_that_nobody_listed_is_found(self):
        for header in ("curl/curl.h", "ncurses.h", "sys/ptrace.h", "linux/kvm.h", "experimental/optional", "fmt"):
            with self.subTest(header):
                self.assertEqual(len(self.foreign("libironcore/src/base/a.cpp", f"#include <{header}>\n")), 1)

    def test_quotes_do_not_make_a_foreign_header_ours(self):
        self.assertEqual(len(self.foreign("libironcore/src/api/a.cpp", '#  include "sqlite3.h"\n')), 1)

    def test_programs_bindings_and_examples_are_looked_at_too(self):
        for name in ("daemons/ironcorectl/a.cpp", "bindings/python/b.cpp", "examples/c.cpp"):
            with self.subTest(name):
                self.assertEqual(len(self.foreign(name, "#include <libvirt/libvirt.h>\n")), 1)
                (self.root / name).unlink()

    def test_a_foreign_header_in_a_public_header_is_found(self):
        self.assertEqual(len(self.foreign("libironcore/include/ironcore/store/a.hpp", "#include <boost/json.hpp>\n")), 1)
        self.assertEqual(len(self.foreign("libironcore/include/ironcore/store/a.hpp", "#include <unistd.h>\n")), 1)

    def test_what_is_allowed_is_not_found(self):
        self.write("libironcore/include/ironcore/store/store.hpp", "#include <string>\n")
        self.write("libironcore/src/store/zmq/b.hpp", "")
        text = '#include <zmq.h>\n#include <vector>\n#include <poll.h>\n#include <boost/json.hpp>\n#include "ironcore/store/store.hpp"\n#include "b.hpp"\n'
        self.assertEqual(self.foreign("libironcore/src/store/zmq/a.cpp", text), [])

    def test_a_layer_that_reaches_up_is_found_by_either_way(self):
        self.write("libironcore/include/ironcore/control/a.hpp", "")
        self.write("libironcore/src/control/private.hpp", "")
        self.write("libironcore/src/store/a.cpp", '#include "ironcore/control/a.hpp"\n#include "../control/private.hpp"\n')
        self.assertEqual(len(list(check_rules.check_layers(self.root, RULES))), 2)

    def test_a_private_header_in_a_program_is_found(self):
        self.write("libironcore/src/store/private.hpp", "")
        self.write("daemons/ironcored/a.cpp", '#include "../../libironcore/src/store/private.hpp"\n')
        self.assertEqual(len(list(check_rules.check_public_only(self.root))), 1)

    def test_links_and_files_that_lead_nowhere_are_found(self):
        self.write("docs/wire.md", "")
        self.write("README.md", "[a](docs/wire.md#part) [b](https://example.org/x) `docs/wire.md`\n```\n[c](gone.md)\n```\n")
        self.assertEqual(list(check_rules.check_pages(self.root)), [])
        self.write("docs/more.md", "[a](gone.md) `src/gone.hpp` [w](wire.md)\n")
        self.assertEqual(len(list(check_rules.check_pages(self.root))), 2)


if __name__ == "__main__":
    unittest.main()
