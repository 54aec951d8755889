# SPDX-License-Identifier: Apache-2.0
# Reads JSON and prints one line per storage.files[] entry: path, contents.source, contents.compression, mode.
# The columns are set apart by the unit separator (octal 037). A small recursive reader: enough for any
# well-formed JSON, silent on broken input.

{ text = text $0 "\n" }

END {
    value("")
    for (i = 0; ("storage.files." i ".path") in leaf; i++) {
        f = "storage.files." i
        print leaf[f ".path"] "\037" leaf[f ".contents.source"] "\037" leaf[f ".contents.compression"] "\037" leaf[f ".mode"]
    }
}

# Takes the next token off the text. Strings are returned with a leading quote, so that "{" is no brace.
function token(   t) {
    sub(/^[ \t\r\n]+/, "", text)
    if (match(text, /^"([^"\\]|\\.)*"/)) {
        t = "\"" string(substr(text, 2, RLENGTH - 2))
    } else if (!match(text, /^([{}:,]|\[|\]|[^][{}:," \t\r\n]+)/)) {
        exit
    } else {
        t = substr(text, 1, RLENGTH)
    }
    text = substr(text, RLENGTH + 1)
    return t
}

function string(s,   out, c, code) {
    if (index(s, "\\") == 0) return s
    out = ""
    while (match(s, /\\./)) {
        out = out substr(s, 1, RSTART - 1)
        c = substr(s, RSTART + 1, 1)
        s = substr(s, RSTART + 2)
        if (c == "u") {
            code = ("0x" substr(s, 1, 4)) + 0
            s = substr(s, 5)
            out = out (code < 128 ? sprintf("%c", code) : "?")
        } else if (c == "n") out = out "\n"
        else if (c == "t") out = out "\t"
        else if (c ~ /[bfr]/) out = out " "
        else out = out c
    }
    return out s
}

function value(path,   t, n, key) {
    t = token()
    if (t == "{") {
        t = token()
        while (t != "}") {
            key = substr(t, 2)
            token()
            value(path == "" ? key : path "." key)
            t = token()
            if (t == ",") t = token()
        }
    } else if (t == "[") {
        n = 0
        sub(/^[ \t\r\n]+/, "", text)
        if (substr(text, 1, 1) == "]") { token(); return }
        do { value(path "." n++) } while (token() == ",")
    } else {
        leaf[path] = substr(t, 1, 1) == "\"" ? substr(t, 2) : (t == "null" ? "" : t)
    }
}
