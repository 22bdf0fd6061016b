use std::error::Error;

use url::Url;

/// Parses the URL of an account's blob endpoint; that of its Data Lake endpoint is converted.
pub(crate) fn parse(text: &str) -> Result<Url, Box<dyn Error>> {
    let mut url = Url::parse(text)?;
    let host = url.host_str().ok_or("it has no host")?;
    let blob_endpoint = host.replacen(".dfs.core.", ".blob.core.", 1);
    url.set_host(Some(&blob_endpoint))?;
    Ok(url)
}
