#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Keeps the rules of docs/architecture.md: layers, foreign headers, links of each program, README snippets, and what pages point to.

check_rules.py SOURCE_ROOT            checks the sources
check_rules.py SOURCE_ROOT PROGRAM…   checks what the built programs are linked with
"""
import pathlib
import re
import subprocess
import sys
import tomllib

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)

# Of C++20, the ones of C as C++ names them included.
STANDARD = set("""
    algorithm any array atomic barrier bit bitset charconv chrono codecvt compare complex concepts condition_variable coroutine deque
    exception execution filesystem format forward_list fstream functional future initializer_list iomanip ios iosfwd iostream istream
    iterator latch limits list locale map memory memory_resource mutex new numbers numeric optional ostream queue random ranges ratio
    regex scoped_allocator semaphore set shared_mutex source_location span sstream stack stdexcept stop_token streambuf string
    string_view syncstream system_error thread tuple type_traits typeindex typeinfo unordered_map unordered_set utility valarray
    variant vector version
    cassert cctype cerrno cfenv cfloat cinttypes climits clocale cmath csetjmp csignal cstdarg cstddef cstdint cstdio cstdlib cstring
    ctime cuchar cwchar cwctype
""".split())

# Where a quoted include is looked for, beside the folder of its file.
OWN_FOLDERS = ("libironcore/include", "daemons")


def includes(path):
    """(quote, name) of each."""
    return INCLUDE.findall(path.read_text())


def own_header(path, root, quote, name):
    """The file of ours that is included; None for a foreign one, whichever quotes it has."""
    folders = [path.parent] if quote == '"' else []
    for folder in [*folders, *(root / own for own in OWN_FOLDERS)]:
        if (folder / name).is_file():
            return (folder / name).resolve()
    return None


def owner(path, root):
    """('store', 'store/sqlite') for a source of an adapter, ('store', 'store') for one of a layer."""
    for base in ("libironcore/include/ironcore", "libironcore/src"):
        try:
            parts = path.relative_to(root / base).parts
        except ValueError:
            continue
        return parts[0], "/".join(parts[:-1]) or parts[0]
    return None, None


def sources(root):
    for folder in ("libironcore/include/ironcore", "libironcore/src"):
        for path in sorted((root / folder).rglob("*.[hc]pp")):
            yield path


def check_layers(root, rules):
    for path in sources(root):
        layer, _ = owner(path, root)
        if layer not in rules["layers"]:
            yield f"{path.relative_to(root)}: folder '{layer}' is no layer: add it to rules.toml and docs/architecture.md"
            continue
        for quote, name in includes(path):
            own = own_header(path, root, quote, name)
            target = owner(own, root)[0] if own else None
            if target and target != layer and target not in rules["layers"][layer]:
                yield f"{path.relative_to(root)}: '{layer}' may not include '{name}'"


def check_foreign_headers(root, rules):
    """What is neither ours nor of C++ is of the operating system or has an owner."""
    def owners_of(name):
        for prefix, owners in rules["foreign"].items():
            if name.startswith(prefix):
                return owners
        return None

    others = [path for folder in ("daemons", "bindings", "examples") for path in sorted((root / folder).rglob("*.[hc]pp"))]
    for path in [*sources(root), *others]:
        folder = owner(path, root)[1] or str(path.parent.relative_to(root))
        is_public = path.is_relative_to(root / "libironcore/include")
        for quote, name in includes(path):
            if name in STANDARD or own_header(path, root, quote, name):
                continue
            where = path.relative_to(root)
            if is_public:
                if name not in rules["public_headers"]["allowed"]:
                    yield f"{where}: foreign header '{name}' in a public header"
                continue
            if name in rules["system_headers"]["allowed"]:
                continue
            owners = owners_of(name)
            if owners is None:
                yield f"{where}: '{name}' has no owner in rules.toml: name the folders that may include it"
            elif "*" not in owners and folder not in owners:
                yield f"{where}: '{name}' belongs to {', '.join(owners)}"


def check_public_only(root):
    """Programs, bindings and examples use public headers only."""
    for folder in ("daemons", "bindings", "examples"):
        for path in sorted((root / folder).rglob("*.[hc]pp")):
            for quote, name in includes(path):
                own = own_header(path, root, quote, name)
                if own and own.is_relative_to(root / "libironcore/src"):
                    yield f"{path.relative_to(root)}: '{name}' is private"


def check_first_lines(root):
    tracked = subprocess.run(["git", "-C", root, "ls-files", "*.cpp", "*.hpp", "*.py", "*.build", "*.sh"],
                             capture_output=True, text=True, check=True).stdout.split()
    for name in tracked:
        head = (root / name).read_text().splitlines()[:3] if (root / name).exists() else []
        if (root / name).exists() and not any("SPDX-License-Identifier: Apache-2.0" in line for line in head):
            yield f"{name}: the first line must name the licence (SPDX-License-Identifier: Apache-2.0)"


def check_snippets(root):
    """A fenced block in a Markdown file that follows `<!-- from FILE: NAME -->` equals the part of FILE between `// [NAME]` marks."""
    mark = re.compile(r"<!-- from (\S+): (\S+) -->\n```\w*\n(.*?)```", re.DOTALL)
    found = 0
    for page in [root / "README.md", *sorted((root / "docs").rglob("*.md"))]:
        for file, name, text in mark.findall(page.read_text() if page.exists() else ""):
            found += 1
            source = (root / file).read_text()
            part = re.search(rf"^[ \t]*(?://|#) \[{name}\]\n(.*?)^[ \t]*(?://|#) \[{name}\]$", source, re.DOTALL | re.MULTILINE)
            if not part:
                yield f"{page.relative_to(root)}: {file} has no part [{name}]"
                continue
            lines = part.group(1).splitlines()
            indent = min((len(l) - len(l.lstrip()) for l in lines if l.strip()), default=0)
            cut = "\n".join(l[indent:] for l in lines)
            if cut.strip() != text.strip():
                yield f"{page.relative_to(root)}: the snippet [{name}] differs from {file}: copy it anew"
    if not found:
        yield "README.md: no snippet is cut from an example"


def check_pages(root):
    """Whatever a page points to is there: links, and files named in code spans."""
    pages = [*sorted(root.glob("*.md")), *sorted((root / "docs").rglob("*.md"))]
    for page in pages:
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            file = target.partition("#")[0]
            if re.match(r"[a-z]+:", target) or not file:
                continue
            if not (page.parent / file).exists():
                yield f"{page.relative_to(root)}: the link {target} leads nowhere"
        for file in re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:hpp|cpp|md|py|toml|txt|yaml))`", text):
            if not (root / file).exists() and not (page.parent / file).exists():
                yield f"{page.relative_to(root)}: there is no file {file}: name it from the top of the repository"


def check_links(programs, rules):
    for program in map(pathlib.Path, programs):
        allowed = set(rules["links"]["everywhere"]) | set(rules["links"]["programs"].get(program.name, []))
        output = subprocess.run(["readelf", "-d", program], capture_output=True, text=True, check=True).stdout
        needed = re.findall(r"\(NEEDED\).*\[([^\]]+)\]", output)
        if not needed:
            yield f"{program.name}: readelf shows no needed libraries"
        for library in needed:
            name = library.split(".so")[0]
            if name not in allowed:
                yield f"{program.name}: is linked with {library}, which rules.toml does not allow"


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    rules = tomllib.loads((root / "tests/rules/rules.toml").read_text())
    if len(sys.argv) > 2:
        problems = list(check_links(sys.argv[2:], rules))
    else:
        problems = [*check_layers(root, rules), *check_foreign_headers(root, rules), *check_public_only(root), *check_first_lines(root),
                    *check_snippets(root), *check_pages(root)]
    print(*problems, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
