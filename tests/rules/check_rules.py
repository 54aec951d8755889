#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Keeps the rules of docs/architecture.md: layers, foreign headers, links of each program, README snippets.

check_rules.py SOURCE_ROOT            checks the sources
check_rules.py SOURCE_ROOT PROGRAM…   checks what the built programs are linked with
"""
import pathlib
import re
import subprocess
import sys
import tomllib

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
STANDARD = re.compile(r"^[a-z_]+$|^(sys|netinet|arpa|linux|net|asm)/|^[a-z_0-9]+\.h$")


def includes(path):
    return [name for _, name in INCLUDE.findall(path.read_text())]


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
        layer, folder = owner(path, root)
        if layer not in rules["layers"]:
            yield f"{path.relative_to(root)}: folder '{layer}' is no layer: add it to rules.toml and docs/architecture.md"
            continue
        is_public = "include" in path.relative_to(root / "libironcore").parts[:1]
        for name in includes(path):
            if name.startswith("ironcore/"):
                target = name.split("/")[1]
                if target != layer and target not in rules["layers"][layer]:
                    yield f"{path.relative_to(root)}: '{layer}' may not include '{name}'"
                continue
            for prefix, owners in rules["foreign"].items():
                if name.startswith(prefix) and folder not in owners:
                    yield f"{path.relative_to(root)}: '{name}' belongs to {', '.join(owners)}"
            is_foreign = "/" in name and not STANDARD.match(name)
            if is_public and is_foreign and name not in rules["public_headers"]["allowed"]:
                yield f"{path.relative_to(root)}: foreign header '{name}' in a public header"


def check_public_only(root):
    """Programs, bindings and examples use public headers only."""
    for folder in ("daemons", "bindings", "examples"):
        for path in sorted((root / folder).rglob("*.[hc]pp")):
            for name in includes(path):
                if "libironcore/src" in name or name.startswith("../../libironcore"):
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
        problems = [*check_layers(root, rules), *check_public_only(root), *check_first_lines(root), *check_snippets(root)]
    print(*problems, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
