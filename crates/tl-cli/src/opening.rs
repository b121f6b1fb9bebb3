//! How a command finds and opens its model and its program.
//!
//! Invariant: what is odd about a model is said once, on standard error, and a download shows its progress on a terminal alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use tensorlogic::{DiskLoader, Engine, Generator, GeneratorOptions, Model, Program};
use tl_formats::gguf::OpenOptions;
use tl_llm::catalogue::{Catalogue, Entry};
use tl_llm::download::{FetchOptions, Spec, entry_of, fetch};
use tl_tensor::DType;

use crate::failure::{Failure, Outcome};
use crate::progress::Bar;
use crate::terminal::remark;

/// How a model is opened.
#[derive(Args, Debug, Clone, Default)]
pub struct OpenArgs {
    /// Run these equations instead of the library's.
    #[arg(long, value_name = "FILE.tl")]
    pub with: Option<PathBuf>,
    /// Read the file into memory instead of mapping it.
    #[arg(long)]
    pub no_mmap: bool,
    /// How many tokens a sequence may have; the model's own context length if not given.
    #[arg(long, value_name = "N")]
    pub context: Option<usize>,
    /// The element type of what sequences remember: f16 takes half of the memory of f32, q8_0 about a quarter; both round.
    #[arg(long, value_name = "f32|f16|bf16|q8_0", value_parser = parse_pages)]
    pub pages: Option<DType>,
}

/// The element types that pages can have.
const PAGES: [DType; 4] = [DType::F32, DType::F16, DType::BF16, DType::Q8_0];

fn parse_pages(text: &str) -> Result<DType, String> {
    let found = PAGES.into_iter().find(|dtype| dtype.name().eq_ignore_ascii_case(text));
    found.ok_or_else(|| "the types are f32, f16, bf16 and q8_0".to_owned())
}

/// A model on this machine.
pub struct Found {
    /// Its file.
    pub path: PathBuf,
    /// Its entry of the catalogue, if it has one.
    pub entry: Option<&'static Entry>,
}

/// A model that is ready to generate.
pub struct Opened {
    /// It.
    pub generator: Generator,
    /// Its entry of the catalogue, if it has one.
    pub entry: Option<&'static Entry>,
    /// Seconds that opening took, a download not counted.
    pub load_seconds: f64,
}

/// The name of the default model.
pub fn default_name() -> &'static str {
    &Catalogue::get().default
}

/// The file of a model, fetched if that is needed.
pub fn find(spec: &str) -> Outcome<Found> {
    let spec = Spec::parse(spec)?;
    let mut bar = Bar::new();
    let options = FetchOptions::from_env()?;
    let fetched = fetch(&spec, &options, &mut |progress| bar.show(progress));
    bar.finish();
    let path = fetched?;
    let entry = entry_of(&spec, &path);
    Ok(Found { path, entry })
}

/// The model of a file, its warnings printed.
pub fn open_model(found: &Found, args: &OpenArgs) -> Outcome<Arc<Model>> {
    let model = Model::open_with(&found.path, OpenOptions { map: !args.no_mmap })?;
    for warning in model.warnings() {
        remark(format_args!("warning: {warning}"));
    }
    Ok(Arc::new(model))
}

/// The engine with so many threads.
pub fn engine(threads: Option<usize>) -> Engine {
    threads.map_or_else(Engine::cpu, Engine::cpu_with_threads)
}

/// A model, ready to generate by the library's equations or the person's own.
pub fn open(spec: &str, args: &OpenArgs, threads: Option<usize>) -> Outcome<Opened> {
    let found = find(spec)?;
    let began = Instant::now();
    let model = open_model(&found, args)?;
    let generator = generator(&engine(threads), model, args)?;
    for warning in generator.warnings() {
        remark(format_args!("warning: {warning}"));
    }
    Ok(Opened { generator, entry: found.entry, load_seconds: began.elapsed().as_secs_f64() })
}

fn generator(engine: &Engine, model: Arc<Model>, args: &OpenArgs) -> Outcome<Generator> {
    let options =
        GeneratorOptions { context: args.context, pages: args.pages, ..GeneratorOptions::default() };
    match &args.with {
        None => Ok(Generator::with_options(engine, model, &options)?),
        Some(path) => {
            let program = program(path)?;
            Ok(Generator::with_program(engine, model, &program, &options)?)
        }
    }
}

/// Where a program's files come from, and its name there: files of its project, or any.
pub fn loader(file: &Path, unrestricted: bool) -> Outcome<(DiskLoader, String)> {
    if unrestricted {
        return Ok((DiskLoader::unrestricted("."), file.display().to_string()));
    }
    DiskLoader::for_program(file).map_err(|e| Failure::file(file, &e))
}

/// A checked program with its statements. What it imports lies in its project.
pub fn script(path: &Path) -> Outcome<Program> {
    let bytes = std::fs::read(path).map_err(|e| Failure::file(path, &e))?;
    let (loader, name) = loader(path, false)?;
    let functions: Vec<&str> = tl_llm::builtins::all().map(|builtin| builtin.name).collect();
    Ok(Program::check_script_bytes(&name, &bytes, &loader, &functions))
}

/// A checked program. What it imports may lie anywhere that the person can read.
pub fn program(path: &Path) -> Outcome<Program> {
    let bytes = std::fs::read(path).map_err(|e| Failure::file(path, &e))?;
    Ok(Program::check_bytes(&path.display().to_string(), &bytes, &DiskLoader::unrestricted(".")))
}
