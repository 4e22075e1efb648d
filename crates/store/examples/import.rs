//! Imports an image into a data directory, and says how long that took: for measurements, and for
//! tests that need other processes. `import DATA FILE [render] [repeat=N]`

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use store::{ImportOptions, Store};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, file, rest @ ..] = arguments.as_slice() else {
        return Err("usage: import DATA FILE [render] [repeat=N]".into());
    };
    let options = ImportOptions {
        render: rest.iter().any(|word| word == "render"),
        ..ImportOptions::default()
    };
    let repeat = rest.iter().find_map(|word| word.strip_prefix("repeat="));
    for _ in 0..repeat.unwrap_or("1").parse::<u64>()? {
        let store = Store::open(Path::new(data));
        let start = Instant::now();
        let image = store.import_file(Path::new(file), &options)?;
        let imported = start.elapsed();
        let start = Instant::now();
        store.manifest(&store.resolve(&image.id)?)?;
        let found = start.elapsed();
        println!("{} imported in {imported:?}, found in {found:?}", image.id);
        if options.render {
            let start = Instant::now();
            store.tree(&image.id)?;
            println!("tree in {:?}", start.elapsed());
        }
    }
    Ok(())
}
