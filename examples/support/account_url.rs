use std::error::Error;

use url::Url;

/// The URL of the account's blob endpoint, also if `text` is that of its Data Lake endpoint.
pub(crate) fn parse(text: &str) -> Result<Url, Box<dyn Error>> {
    let mut url = Url::parse(text)?;
    let host = url.host_str().ok_or("it names no host")?;
    let blob_endpoint = host.replacen(".dfs.core.", ".blob.core.", 1);
    url.set_host(Some(&blob_endpoint))?;
    Ok(url)
}
