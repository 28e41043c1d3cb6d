//! The pages of the guide as HTML: `GET /guide` and `GET /guide/{page}`, for a person at the console. They hold nothing
//! of the server's state and run no script; the policy that they are served with lets none in.

use std::sync::LazyLock;

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};
use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

use super::call::{Call, Outcome};
use super::error::{ApiError, Kind};
use crate::guide::PAGES;

/// The content security policy of a page (CSP level 3): it loads the console's styles and its icon.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// The ending of a page's file.
const ENDING: &str = ".md";

/// A page as it is served.
struct Page {
    /// Its part of the path.
    name: &'static str,
    title: String,
    /// The text of its first paragraph.
    about: String,
    /// The article.
    html: String,
}

/// Rendered when the first of them is asked for.
static RENDERED: LazyLock<Vec<Page>> = LazyLock::new(|| {
    let page = |(file, text): &(&'static str, &str)| render(file.trim_end_matches(ENDING), text);
    PAGES.iter().map(page).collect()
});

pub(super) async fn guide(_: Call) -> Outcome {
    let mut article = String::from("<h1>The guide</h1><dl class=\"guide-index\">");
    for page in RENDERED.iter() {
        article.push_str("<dt><a href=\"/guide/");
        article.push_str(page.name);
        article.push_str("\">");
        escape_into(&mut article, &page.title);
        article.push_str("</a></dt><dd>");
        escape_into(&mut article, &page.about);
        article.push_str("</dd>");
    }
    article.push_str("</dl>");
    serve("The guide", "", &article)
}

pub(super) async fn guide_page(call: Call) -> Outcome {
    let asked = call.parameter("page").trim_end_matches(ENDING);
    match RENDERED.iter().find(|page| page.name == asked) {
        Some(page) => serve(&page.title, page.name, &page.html),
        None => Err(ApiError::new(Kind::NotFound, "the guide has no such page; /guide lists them")),
    }
}

/// A whole document: the list of pages, and the article.
fn serve(title: &str, name: &str, article: &str) -> Outcome {
    let mut text = String::from(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>",
    );
    escape_into(&mut text, title);
    text.push_str(
        " – Tidegate</title><link rel=\"icon\" href=\"/console/icon.svg\">\
         <link rel=\"stylesheet\" href=\"/console/base.css\"><link rel=\"stylesheet\" href=\"/console/guide.css\">\
         </head><body class=\"guide\"><header><a href=\"/\">Console</a> <a href=\"/guide\">Guide</a></header>\
         <div class=\"guide-columns\"><nav aria-label=\"Pages of the guide\"><ul>",
    );
    for page in RENDERED.iter() {
        let current = if page.name == name { " aria-current=\"page\"" } else { "" };
        text.push_str(&format!("<li><a href=\"/guide/{}\"{current}>", page.name));
        escape_into(&mut text, &page.title);
        text.push_str("</a></li>");
    }
    text.push_str("</ul></nav><main>");
    text.push_str(article);
    text.push_str("</main></div></body></html>");
    let mut response = Response::new(Body::from(text));
    let fields = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    for (name, value) in fields {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

/// Renders a page: links lead to pages as they are served, headings can be linked to, markup in the text is text.
fn render(name: &'static str, text: &str) -> Page {
    let mut events: Vec<Event<'_>> = Parser::new_ext(text, Options::ENABLE_TABLES).map(plain).collect();
    let (mut title, mut about) = (String::new(), String::new());
    let mut used: Vec<String> = Vec::new();
    for place in 0..events.len() {
        match &events[place] {
            Event::Start(Tag::Heading { level, .. }) => {
                let level = *level;
                let heading = text_of(&events[place + 1..], |end| matches!(end, TagEnd::Heading(_)));
                if level == HeadingLevel::H1 && title.is_empty() {
                    title.clone_from(&heading);
                }
                let id = slug(&heading, &used);
                used.push(id.clone());
                let (classes, attrs) = (Vec::new(), Vec::new());
                let tag = Tag::Heading { level, id: Some(id.into()), classes, attrs };
                events[place] = Event::Start(tag);
            }
            Event::Start(Tag::Paragraph) if about.is_empty() => {
                about = text_of(&events[place + 1..], |end| matches!(end, TagEnd::Paragraph));
            }
            _ => {}
        }
    }
    let events = events.into_iter().flat_map(framed);
    let mut article = String::new();
    html::push_html(&mut article, events);
    Page { name, title, about, html: article }
}

/// An event without markup of its own, and with a link that leads where the page is served.
fn plain(event: Event<'_>) -> Event<'_> {
    match event {
        Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Link { link_type, dest_url: served(dest_url), title, id })
        }
        other => other,
    }
}

/// Where a link of a page leads once it is served: to another page of the guide, to a place of this one, or out. A file of
/// the sources is not served: the link leads to the list of pages.
fn served(link: CowStr<'_>) -> CowStr<'_> {
    if link.starts_with('#') || link.starts_with("https://") || link.starts_with("http://") {
        return link;
    }
    let (file, place) = link.split_once('#').unwrap_or((&link, ""));
    let page =
        PAGES.iter().find(|(known, _)| *known == file).map(|(known, _)| known.trim_end_matches(ENDING));
    match (page, place) {
        (None, _) => "/guide".into(),
        (Some(page), "") => format!("/guide/{page}").into(),
        (Some(page), place) => format!("/guide/{page}#{place}").into(),
    }
}

/// A table in a box that scrolls by itself, and can be scrolled by keyboard.
fn framed(event: Event<'_>) -> Vec<Event<'_>> {
    const OPEN: &str = "<div class=\"scroll\" role=\"region\" aria-label=\"Table\" tabindex=\"0\">";
    match event {
        Event::Start(Tag::Table(_)) => vec![Event::Html(OPEN.into()), event],
        Event::End(TagEnd::Table) => vec![event, Event::Html("</div>".into())],
        other => vec![other],
    }
}

fn text_of(events: &[Event<'_>], is_end: impl Fn(&TagEnd) -> bool) -> String {
    let mut text = String::new();
    for event in events {
        match event {
            Event::End(end) if is_end(end) => break,
            Event::Text(part) | Event::Code(part) => text.push_str(part),
            Event::SoftBreak | Event::HardBreak => text.push(' '),
            _ => {}
        }
    }
    text
}

/// The anchor of a heading, as GitHub makes it: a repeated one gets a number.
fn slug(heading: &str, used: &[String]) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    let slug: String = kept.collect::<String>().to_lowercase().replace(' ', "-");
    let repeats = used.iter().filter(|known| **known == slug).count();
    if repeats == 0 { slug } else { format!("{slug}-{repeats}") }
}

fn escape_into(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_a_title_a_first_paragraph_and_no_markup_of_its_own() {
        for page in RENDERED.iter() {
            assert!(!page.title.is_empty() && !page.about.is_empty(), "{}", page.name);
            let tags = page.html.split('<').skip(1).filter_map(|rest| rest.split('>').next());
            for tag in tags {
                assert!(!tag.starts_with("script") && !tag.contains(" on"), "{}: {tag}", page.name);
            }
        }
        let page = render("x", "# A <b>\n\n<script>alert(1)</script> & **more**\n");
        assert!(!page.html.contains("<script") && page.html.contains("&lt;script&gt;"), "{}", page.html);
    }

    #[test]
    fn links_lead_to_what_is_served() {
        for (link, expected) in [
            ("flows.md", "/guide/flows"),
            ("flows.md#wires", "/guide/flows#wires"),
            ("#wires", "#wires"),
            ("https://example.org/a", "https://example.org/a"),
            ("../../README.md#crates", "/guide"),
            ("javascript:alert(1)", "/guide"),
        ] {
            assert_eq!(&*served(link.into()), expected);
        }
    }

    /// A link to a heading that is not there would lead to the page's beginning.
    #[test]
    fn links_between_pages_find_their_headings() {
        for page in RENDERED.iter() {
            for link in page.html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                let Some((target, place)) = link.split_once('#').filter(|_| !link.starts_with("http")) else {
                    continue;
                };
                let other = RENDERED.iter().find(|other| target == format!("/guide/{}", other.name));
                let html = other.map_or(&page.html, |other| &other.html);
                assert!(html.contains(&format!("id=\"{place}\"")), "{}: {link}", page.name);
            }
        }
    }

    #[test]
    fn anchors_are_those_of_github() {
        assert_eq!(slug("REST API: `GET` & more", &[]), "rest-api-get--more");
        assert_eq!(slug("Wires", &["wires".to_owned()]), "wires-1");
    }
}
