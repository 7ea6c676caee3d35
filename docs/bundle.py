"""Scripts of the page, written as modules and joined into one.

A browser loads no modules from a page that lies on a disk. So what a module imports is put before it, and the
words import and export are left out; therefore no two modules may declare the same name.
"""
import re
from pathlib import Path

imports = re.compile(r"^import \{([^}]*)\} from '\./([\w-]+\.js)';\n", re.M)
declares = re.compile(r'^(export )?(?:const|let|function|class) (\w+)', re.M)
lists = re.compile(r'^export \{([^}]*)\};\n', re.M)


def names_in(words: str) -> set: return set(words.replace(',', ' ').split())

def exports(text: str) -> set:
    "Names that a module gives to others."
    own = {name for export, name in declares.findall(text) if export}
    return own.union(*map(names_in, lists.findall(text)))

def read(path: Path, found: dict):
    "Put the texts of a module and of what it imports into `found`, what is imported first."
    if path.name in found: return
    if not path.is_file(): raise SystemExit(f'there is no module {path}.')
    text = path.read_text(encoding='utf-8')
    for names, name in imports.findall(text):
        read(path.parent/name, found)
        missing = names_in(names) - exports(found[name])
        if missing:
            raise SystemExit(f"{name} exports no {', '.join(sorted(missing))}, which {path.name} imports.")
    found[path.name] = text

def joined(*paths: Path) -> str:
    "Modules and all that they import as one text, in which every name of each is known."
    found, where = {}, {}
    for path in paths: read(path, found)
    for module, text in found.items():
        for _, name in declares.findall(text):
            if name in where: raise SystemExit(f'{module} declares {name}, and so does {where[name]}.')
            where[name] = module
    bare = (lists.sub('', imports.sub('', text)) for text in found.values())
    return '\n'.join(re.sub(r'^export ', '', text, flags=re.M) for text in bare)

def script(path: Path) -> str:
    "The same as a script that leaves no names behind."
    return f"(() => {{\n'use strict';\n{joined(path)}}})();\n"
