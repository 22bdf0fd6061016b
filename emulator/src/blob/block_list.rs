use quick_xml::Reader;
use quick_xml::events::Event;

use super::error_response::ErrorResponse;

/// Where the block of a block list comes from.
pub(super) enum BlockSource {
    Committed,
    Uncommitted,
    Latest,
}

/// Parses the body of Put Block List.
pub(super) fn block_list(body: &[u8]) -> Result<Vec<(BlockSource, String)>, ErrorResponse> {
    let invalid =
        || ErrorResponse::bad_request("InvalidXmlDocument", "XML specified is not syntactically valid.");
    let text = std::str::from_utf8(body).map_err(|_| invalid())?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut list = Vec::new();
    loop {
        let element = match reader.read_event().map_err(|_| invalid())? {
            Event::Eof => return Ok(list),
            Event::Start(element) => element,
            _ => continue,
        };
        let source = match element.name().as_ref() {
            "BlockList" => continue,
            "Latest" => BlockSource::Latest,
            "Committed" => BlockSource::Committed,
            "Uncommitted" => BlockSource::Uncommitted,
            _ => return Err(invalid()),
        };
        let id = reader.read_text(element.name()).map_err(|_| invalid())?;
        list.push((source, id.trim().to_owned()));
    }
}
