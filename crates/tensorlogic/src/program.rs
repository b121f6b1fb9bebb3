//! A checked program: source texts, the functions that they define, and every finding about them.
//!
//! Checking never fails and never stops at the first error: a [`Program`] always exists, and its diagnostics say whether it
//! may be used. The standard library is known to every program; files come in through a loader.

use std::sync::Arc;

use tl_exec::plan::PlanError;
use tl_ir::Graph;
use tl_ir::stream::{Violation, ViolationKind};
use tl_sema::Argument;
use tl_sema::reader::Reader;
use tl_syntax::ast::{File, Stmt};
use tl_syntax::{Diagnostic, Source, SourceId, SourceMap, codes};

use crate::error::{Diagnostics, Error};
use crate::interpreter::{builtins, facts_of_file};
use crate::library::{self, LibraryFile};
use crate::loader::{Loader, MemoryLoader, relative, resolve};
use crate::model::Model;
use crate::names;

/// A program that was checked.
#[derive(Clone, Debug)]
pub struct Program {
    functions: tl_sema::Program,
    entry: SourceId,
    diagnostics: Diagnostics,
}

/// Brings in the files that a program imports: those of the library, then those that the loader has.
struct Importer<'a> {
    sources: &'a mut SourceMap,
    loader: &'a dyn Loader,
    /// Functions of scripts that crates above have added.
    functions: &'a [&'a str],
}

impl Program {
    /// Checks a program: its equations and functions. `name` is for messages, and what imports are relative to.
    pub fn check(name: &str, text: &str, loader: &dyn Loader) -> Program {
        Self::checked(name, text, loader, None)
    }

    /// Checks a program, the names in its statements too. `functions` are those that it may call beyond [`builtins`]: the ones that
    /// crates above add to an interpreter.
    pub fn check_script(name: &str, text: &str, loader: &dyn Loader, functions: &[&str]) -> Program {
        Self::checked(name, text, loader, Some(functions))
    }

    fn checked(name: &str, text: &str, loader: &dyn Loader, functions: Option<&[&str]>) -> Program {
        let mut sources = SourceMap::new();
        let (prelude, mut list) = prelude(&mut sources);
        let entry = match sources.add(name, text) {
            Ok(entry) => entry,
            Err(error) => {
                list.push(error.to_diagnostic());
                let diagnostics = Diagnostics { sources, list };
                return Program { functions: prelude, entry: SourceId::NONE, diagnostics };
            }
        };
        let more = functions.unwrap_or_default();
        let mut importer = Importer { sources: &mut sources, loader, functions: more };
        let checked = tl_sema::check(&entry, &mut importer, &prelude);
        list.extend(checked.diagnostics);
        if functions.is_some() && !list.iter().any(|d| d.is_error() && is_of_syntax(d)) {
            let own = sources.iter().filter(|source| source.id().0 >= entry.id().0);
            let files: Vec<File> = own.map(|source| tl_syntax::parse(source).file()).collect();
            let known = |name: &str| more.contains(&name) || is_known(name, &checked.program);
            let names: Vec<&str> = builtins::all().map(|b| b.name).chain(more.iter().copied()).collect();
            let found = names::check(&files, &known, &names);
            list.extend(
                found
                    .into_iter()
                    .filter(|new| !list.iter().any(|d| d.primary_span() == new.primary_span()))
                    .collect::<Vec<_>>(),
            );
        }
        let diagnostics = Diagnostics { sources, list };
        Program { functions: checked.program, entry: entry.id(), diagnostics }
    }

    /// Checks a program from bytes that have yet to be found to be text.
    pub fn check_bytes(name: &str, bytes: &[u8], loader: &dyn Loader) -> Program {
        Self::from_bytes(name, bytes, |text| Self::check(name, text, loader))
    }

    /// As [`Program::check_script`], from bytes that have yet to be found to be text.
    pub fn check_script_bytes(name: &str, bytes: &[u8], loader: &dyn Loader, functions: &[&str]) -> Program {
        Self::from_bytes(name, bytes, |text| Self::check_script(name, text, loader, functions))
    }

    fn from_bytes(name: &str, bytes: &[u8], check: impl FnOnce(&str) -> Program) -> Program {
        match SourceMap::new().add_bytes(name, bytes) {
            Ok(source) => check(source.text()),
            Err(error) => {
                let diagnostics =
                    Diagnostics { sources: SourceMap::new(), list: vec![error.to_diagnostic()] };
                Program { functions: tl_sema::Program::new(), entry: SourceId::NONE, diagnostics }
            }
        }
    }

    /// A file of the library.
    pub fn library(file: LibraryFile) -> Program {
        Self::check(&format!("lib/{}", file.path), file.text, &MemoryLoader::default())
    }

    /// Everything that was found, with the texts.
    pub fn diagnostics(&self) -> &Diagnostics {
        &self.diagnostics
    }

    /// Whether it may not be used.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.has_errors()
    }

    /// The functions that it defines and knows.
    pub fn functions(&self) -> &tl_sema::Program {
        &self.functions
    }

    /// The name of the function that generates: the one that is asked for, or the only one of the program itself.
    ///
    /// # Errors
    /// When the program has errors, there is no such function, or there are several to choose from.
    pub fn generator(&self, asked: Option<&str>) -> Result<String, Error> {
        if self.has_errors() {
            return Err(Error::Program(self.diagnostics.clone()));
        }
        if let Some(name) = asked {
            return match self.functions.function(name) {
                Some(function) if function.is_generator() => Ok(name.to_owned()),
                Some(function) => Err(self.error(
                    Diagnostic::error(
                        codes::NOT_A_GENERATOR,
                        function.span,
                        format!("`{name}` does not generate"),
                    )
                    .help("a function that generates has the form `fn name(m, tok[p]) -> logits[p, v]`"),
                )),
                None => Err(Error::Model(format!("the program has no function `{name}`"))),
            };
        }
        let found: Vec<_> = self.functions.functions().filter(|f| f.is_generator()).collect();
        let own: Vec<_> = found.iter().copied().filter(|f| f.span.source == self.entry).collect();
        match (&own[..], &found[..]) {
            ([one], _) | ([], [one]) => Ok(one.name.text.to_string()),
            ([], []) => Err(Error::Model(
                "the program has no function that generates: `fn name(m, tok[p]) -> logits[p, v]`".to_owned(),
            )),
            _ => {
                let names: Vec<_> = found.iter().map(|f| &*f.name.text).collect();
                Err(Error::Model(format!("several functions generate; choose one of {}", names.join(", "))))
            }
        }
    }

    /// The graph of a generator against a model.
    pub(crate) fn trace_generator(&self, name: &str, model: Arc<Model>) -> Result<Graph, Error> {
        // The parameter with an axis is the stream, the other the model; parameters with defaults keep them.
        let params = self.functions.function(name).map(|f| f.params.clone()).unwrap_or_default();
        let given = params.iter().take_while(|p| p.default.is_none());
        let arguments: Vec<Argument> = given
            .map(|param| match param.axes {
                Some(_) => Argument::Stream,
                None => Argument::Model(Arc::clone(&model) as Arc<dyn tl_sema::Model>),
            })
            .collect();
        let traced = tl_sema::trace_function(&self.functions, name, &arguments, &tl_sema::Limits::default());
        match traced {
            Ok(traced) => Ok(traced.graph),
            Err(list) => Err(Error::Program(Diagnostics { sources: self.diagnostics.sources.clone(), list })),
        }
    }

    /// Why a generator can't be planned, with the places.
    #[cold]
    pub(crate) fn plan_error(&self, error: PlanError) -> Error {
        let list = match &error {
            PlanError::NotCausal(violations) => violations.iter().map(looks_ahead).collect(),
            PlanError::TwoStreamAxes { span, .. } => {
                vec![Diagnostic::error(codes::RUN_FAILED, *span, error.to_string())]
            }
        };
        Error::Program(Diagnostics { sources: self.diagnostics.sources.clone(), list })
    }

    #[cold]
    fn error(&self, diagnostic: Diagnostic) -> Error {
        Error::Program(Diagnostics { sources: self.diagnostics.sources.clone(), list: vec![diagnostic] })
    }
}

impl tl_sema::Importer for Importer<'_> {
    fn import(&mut self, path: &str, from: &Source) -> Result<Source, String> {
        if let Some(file) = library::find(path) {
            return self.sources.add(format!("lib/{}", file.path), file.text).map_err(|e| e.to_string());
        }
        let path = match self.loader.is_open() {
            true => relative(path, from.name()),
            false => resolve(path, from.name()).map_err(|e| e.to_string())?,
        };
        let bytes = self.loader.read(&path).map_err(|e| e.to_string())?;
        self.sources.add_bytes(&*path, &bytes).map_err(|e| e.to_string())
    }

    fn facts(
        &mut self,
        call: &tl_syntax::ast::CallExpr,
        arity: usize,
        source: &Source,
    ) -> Result<Vec<tl_sema::Fact>, Box<Diagnostic>> {
        facts_of_file(call, arity, self.loader, source.name())
    }

    fn is_of_scripts(&self, name: &str) -> bool {
        self.functions.contains(&name) || is_of_scripts(name)
    }
}

/// Whether something always means something: a builtin, a function, a constant.
fn is_known(name: &str, program: &tl_sema::Program) -> bool {
    program.function(name).is_some()
        || matches!(name, "pi" | "inf" | "nan")
        || tl_sema::builtins::names().any(|known| known == name)
        || builtins::all().any(|builtin| builtin.name == name)
}

/// Whether a finding is one of the lexer or the parser, after which names are guesses.
fn is_of_syntax(found: &Diagnostic) -> bool {
    ["E00", "E01", "E02"].iter().any(|start| found.code.starts_with(start))
}

/// Whether a builtin is one that equations can't call.
fn is_of_scripts(name: &str) -> bool {
    let of_equations = tl_sema::builtins::names().any(|known| known == name);
    !of_equations && builtins::all().any(|builtin| builtin.name == name)
}

/// The functions of the standard library, and what is wrong with them (nothing).
fn prelude(sources: &mut SourceMap) -> (tl_sema::Program, Vec<Diagnostic>) {
    let (mut program, mut found) = (tl_sema::Program::new(), Vec::new());
    for file in library::standard() {
        let Ok(source) = sources.add(format!("lib/{}", file.path), file.text) else { continue };
        let parse = tl_syntax::parse(&source);
        found.extend(parse.diagnostics.iter().cloned());
        for statement in parse.file().stmts() {
            let Stmt::Fn(decl) = statement else { continue };
            let mut reader = Reader::new(&mut program);
            let function = reader.function(&decl);
            found.append(&mut reader.diagnostics);
            if let Some(function) = function {
                program.define(function);
            }
        }
    }
    (program, found)
}

/// The finding that a read looks ahead.
#[cold]
fn looks_ahead(violation: &Violation) -> Diagnostic {
    let tensor = violation.tensor.as_deref().unwrap_or("a tensor");
    let row = &violation.row;
    let error = |message: String| Diagnostic::error(codes::LOOKS_AHEAD, violation.span, message);
    match &violation.kind {
        ViolationKind::LooksAhead { index, reach: None } => {
            error(format!("`{tensor}` is read at every `{index}`"))
                .help(format!("add `where {index} <= {row}`"))
        }
        ViolationKind::LooksAhead { reach: Some(reach), .. } => {
            error(format!("`{tensor}` is read {reach} positions after `{row}`"))
        }
        ViolationKind::ReducesRows => error(format!("`{tensor}` is summed over all `{row}`")),
        ViolationKind::DataDependent => {
            error(format!("`{tensor}` is read at a position along `{row}` that is data"))
        }
    }
}
