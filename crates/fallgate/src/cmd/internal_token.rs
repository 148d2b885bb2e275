//! `fallgate internal-token …`

use fallgate_authority::{Policy, Registrar};
use zeroize::Zeroizing;

use crate::cli::InternalToken;
use crate::failure::Failure;
use crate::home::{Home, HomeFolder};
use crate::{cmd, internal, output};

pub(crate) fn run(verb: &InternalToken, folder: &HomeFolder) -> Result<(), Failure> {
    cmd::runtime()?.block_on(async {
        let home = Home::existing(folder)?;
        home.warnings().iter().for_each(output::warn);
        let registrar = cmd::open(&home, folder, Policy::default()).await?;
        match verb {
            InternalToken::Show => show(&home, &registrar).await,
            InternalToken::Rotate => rotate(&home, &registrar).await,
        }
    })
}

async fn show(home: &Home, registrar: &Registrar) -> Result<(), Failure> {
    let (text, warnings) = internal::show(home, registrar).await?;
    warnings.iter().for_each(output::warn);
    output::data(&Zeroizing::new(format!("{}\n", *text)))
}

async fn rotate(home: &Home, registrar: &Registrar) -> Result<(), Failure> {
    let path = internal::rotate(home, registrar).await?;
    output::say(format_args!(
        "Made another internal token; the old one is refused from now on. It stands in {}",
        path.display()
    ));
    Ok(())
}
