//! Cuts out of Python modules what a stand-alone script needs: top-level blocks, followed by the names that they use.
//!
//! Knows the small part of Python's surface that the modules of `calipers_worker/gaps` keep to: imports, assignments,
//! functions and classes at the top level, one a block.

use std::collections::{BTreeMap, BTreeSet};

/// Modules by dotted name, cut into blocks.
pub struct Modules {
    modules: Vec<Module>,
}

struct Module {
    name: String,
    /// Modules of the same set that it imports from.
    needs: Vec<String>,
    blocks: Vec<Block>,
}

struct Block {
    kind: Kind,
    /// The name that it defines or binds.
    name: String,
    text: String,
    /// Names that it may use.
    words: BTreeSet<String>,
}

#[derive(PartialEq, Eq)]
enum Kind {
    Import,
    Definition,
}

/// What a set of names needs.
pub struct Cut {
    /// Import statements, sorted, each once.
    pub imports: Vec<String>,
    /// Definitions in an order in which they can be executed.
    pub definitions: Vec<String>,
}

impl Modules {
    /// Cuts modules, given by file name such as `package/part/module.py` and text. `package` is the name whose imports
    /// are looked up among them instead of being kept.
    pub fn new<'t>(files: impl Iterator<Item = (&'t str, &'t str)>, package: &str) -> Modules {
        let modules = files.map(|(file, text)| Module::new(file, text, package)).collect();
        Modules { modules }
    }

    /// All that `roots` need, but for the names in `have`.
    pub fn cut(&self, roots: &[&str], have: &BTreeSet<String>) -> Cut {
        let mut wanted: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&str> = roots.to_vec();
        while let Some(name) = open.pop() {
            if have.contains(name) || !wanted.insert(name) {
                continue;
            }
            for module in &self.modules {
                let defines = |block: &&Block| block.kind == Kind::Definition && block.name == name;
                for block in module.blocks.iter().filter(defines) {
                    open.extend(block.words.iter().map(String::as_str).filter(|word| self.defines(word)));
                }
            }
        }
        let mut imports = BTreeSet::new();
        let mut definitions = Vec::new();
        for module in self.ordered() {
            let used =
                |block: &&Block| block.kind == Kind::Definition && wanted.contains(block.name.as_str());
            let chosen: Vec<&Block> = module.blocks.iter().filter(used).collect();
            for import in module.blocks.iter().filter(|block| block.kind == Kind::Import) {
                if chosen.iter().any(|block| block.words.contains(&import.name)) {
                    imports.insert(import.text.clone());
                }
            }
            definitions.extend(chosen.iter().map(|block| block.text.clone()));
        }
        Cut { imports: imports.into_iter().collect(), definitions }
    }

    /// The names that are defined in a cut of `roots`.
    pub fn names(&self, roots: &[&str]) -> BTreeSet<String> {
        let definitions = self.cut(roots, &BTreeSet::new()).definitions;
        let blocks = self.modules.iter().flat_map(|module| &module.blocks);
        blocks.filter(|block| definitions.contains(&block.text)).map(|block| block.name.clone()).collect()
    }

    /// Whether a top-level name is defined anywhere.
    pub fn defines(&self, name: &str) -> bool {
        let mut blocks = self.modules.iter().flat_map(|module| &module.blocks);
        blocks.any(|block| block.kind == Kind::Definition && block.name == name)
    }

    /// The modules, each after those that it imports from.
    fn ordered(&self) -> Vec<&Module> {
        let by_name: BTreeMap<&str, &Module> =
            self.modules.iter().map(|module| (module.name.as_str(), module)).collect();
        let mut ordered: Vec<&Module> = Vec::new();
        for module in &self.modules {
            place(module, &by_name, &mut BTreeSet::new(), &mut ordered);
        }
        ordered
    }
}

fn place<'m>(
    module: &'m Module,
    by_name: &BTreeMap<&str, &'m Module>,
    above: &mut BTreeSet<&'m str>,
    ordered: &mut Vec<&'m Module>,
) {
    if ordered.iter().any(|placed| placed.name == module.name) || !above.insert(&module.name) {
        return;
    }
    for needed in module.needs.iter().filter_map(|name| by_name.get(name.as_str())) {
        place(needed, by_name, above, ordered);
    }
    ordered.push(module);
}

impl Module {
    fn new(file: &str, text: &str, package: &str) -> Module {
        let name = file.trim_end_matches(".py").replace('/', ".");
        let mut module = Module { name, needs: Vec::new(), blocks: Vec::new() };
        for text in blocks(text) {
            if let Some(rest) = text.strip_prefix("from ") {
                let Some((source, names)) = rest.split_once(" import ") else { continue };
                if source == package || source.starts_with(&format!("{package}.")) {
                    module.needs.push(source.to_owned());
                    continue;
                }
                let names = names.trim_matches(['(', ')', ' ', '\n']);
                for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                    module.import(bound(name), format!("from {source} import {name}"));
                }
            } else if let Some(name) = text.strip_prefix("import ") {
                module.import(bound(name.trim()), text.trim().to_owned());
            } else if let Some(name) = defined(&text) {
                let words = words(&text);
                module.blocks.push(Block { kind: Kind::Definition, name, text, words });
            }
        }
        module
    }

    fn import(&mut self, name: &str, text: String) {
        let block = Block { kind: Kind::Import, name: name.to_owned(), text, words: BTreeSet::new() };
        self.blocks.push(block);
    }
}

/// The name that `x`, `x.y` or `x as y` binds.
fn bound(name: &str) -> &str {
    match name.split_once(" as ") {
        Some((_, alias)) => alias.trim(),
        None => name.split('.').next().unwrap_or(name),
    }
}

/// The top-level blocks of a module, without its docstring.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    let mut in_string = false;
    // A decorator, or a comment at the margin, belongs to what follows.
    let mut leads = false;
    for line in text.lines() {
        let is_comment = line.starts_with('#') && !in_string;
        let goes_on = in_string || leads || line.is_empty() || line.starts_with([' ', ')', ']', '}']);
        in_string ^= line.matches("\"\"\"").count() % 2 == 1;
        match blocks.last_mut() {
            Some(block) if goes_on => {
                block.push('\n');
                block.push_str(line);
            }
            Some(_) | None => blocks.push(line.to_owned()),
        }
        leads = is_comment || line.starts_with('@');
    }
    blocks.iter().map(|block| block.trim_end().to_owned()).collect()
}

/// The name that a block defines; none for a string that documents the block before it.
fn defined(text: &str) -> Option<String> {
    let line = text.lines().find(|line| !line.starts_with(['@', '#']))?;
    let rest = line.strip_prefix("def ").or_else(|| line.strip_prefix("class ")).unwrap_or(line);
    let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

/// The words of a block that can be names: not those after a dot, in comments or in long strings.
fn words(text: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for (at, part) in text.split("\"\"\"").enumerate() {
        if at % 2 == 1 {
            continue;
        }
        for line in part.lines() {
            let line = line.split(" # ").next().unwrap_or(line);
            let mut word = String::new();
            let mut after_dot = false;
            let mut before = ' ';
            for c in line.chars().chain([' ']) {
                if c.is_alphanumeric() || c == '_' {
                    if word.is_empty() {
                        after_dot = before == '.';
                    }
                    word.push(c);
                } else if !word.is_empty() {
                    let word = std::mem::take(&mut word);
                    if !after_dot {
                        words.insert(word);
                    }
                }
                before = c;
            }
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::Modules;
    use std::collections::BTreeSet;

    const SHAPES: &str = "\"\"\"Owns shapes.\"\"\"\n\nimport math\nimport numpy as np\nfrom typing import (\n    Any,\n    Final,\n)\n\n# A comment\n# of two lines.\nSIZE = 3\n\"\"\"How many: not `unused`.\"\"\"\n\n\ndef unused() -> Any:\n    return np\n\n\n@decorated\nclass Shape:\n    \"\"\"A shape.\n\nwith a line at the margin, unused.\n    \"\"\"\n\n    size = SIZE\n\n    def area(self):  # unused\n        return math.pi * self.unused\n";
    const USERS: &str = "\"\"\"Owns users.\"\"\"\n\nfrom pack.shapes import Shape\n\n\ndef decorated(x):\n    return x\n\n\ndef user():\n    return Shape()\n";

    #[test]
    fn what_is_needed_is_cut_and_nothing_else() {
        let files = [("pack/users.py", USERS), ("pack/shapes.py", SHAPES)];
        let modules = Modules::new(files.into_iter(), "pack");
        let cut = modules.cut(&["user"], &BTreeSet::new());
        assert_eq!(cut.imports, ["import math"]);
        let names: Vec<&str> = cut.definitions.iter().map(|text| text.lines().next().unwrap()).collect();
        assert_eq!(names, ["# A comment", "@decorated", "def decorated(x):", "def user():"]);
        let have = modules.names(&["Shape"]);
        assert_eq!(modules.cut(&["user"], &have).definitions.len(), 1);
        let cut = modules.cut(&["unused"], &BTreeSet::new());
        assert_eq!(cut.imports, ["from typing import Any", "import numpy as np"]);
    }
}
