//! What a file is, by the ending of its name, as browsers are told.

/// What nothing is known of: a browser saves it.
const UNKNOWN: &str = "application/octet-stream";

/// The media type of a file.
pub(crate) fn type_of(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path);
    let Some((_, ending)) = name.rsplit_once('.') else { return UNKNOWN };
    match ending.to_ascii_lowercase().as_str() {
        "css" => "text/css; charset=utf-8",
        // By RFC 9239; `application/javascript` is what it was.
        "js" | "mjs" | "cjs" => "text/javascript; charset=utf-8",
        "html" | "htm" => "text/html; charset=utf-8",
        "txt" | "text" | "md" => "text/plain; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "vtt" => "text/vtt; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "xml" => "application/xml",
        "xsl" | "xslt" => "application/xslt+xml",
        "pdf" => "application/pdf",
        "wasm" => "application/wasm",
        "zip" => "application/zip",
        "gz" => "application/gzip",
        "svg" => "image/svg+xml",
        "png" | "apng" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" | "cur" => "image/x-icon",
        "bmp" => "image/bmp",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "eot" => "application/vnd.ms-fontobject",
        "mp3" => "audio/mpeg",
        "ogg" | "oga" => "audio/ogg",
        "wav" => "audio/wav",
        "m4a" => "audio/mp4",
        "mp4" | "m4v" => "video/mp4",
        "webm" => "video/webm",
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_their_endings() {
        for (path, media) in [
            ("css/a.0123.css", "text/css; charset=utf-8"),
            ("a.CSS", "text/css; charset=utf-8"),
            ("admin/js/core.js", "text/javascript; charset=utf-8"),
            ("a.js.map", "application/json"),
            ("a.css.gz", "application/gzip"),
            ("a.css.br", UNKNOWN),
            ("v1.2/LICENSE", UNKNOWN),
            ("fonts/a.woff2", "font/woff2"),
            ("a.exe", UNKNOWN),
            ("", UNKNOWN),
        ] {
            assert_eq!(type_of(path), media, "{path}");
        }
    }
}
