//! The page at `/`, in a real browser.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::chromium::Browser;
use crate::support::server::Server;
use crate::support::{Gpux, deps};

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
const CONTROL: &str = "\u{e009}";
const DOWN: &str = "\u{e015}";
const RIGHT: &str = "\u{e014}";

fn serve(more: &[&str]) -> (Server, Browser) {
    let models = ["fixtures/photo", "fixtures/digits", "fixtures/generate/gpt2"];
    let server = Server::start(&Gpux::new(), &[&models, more].concat());
    let browser = Browser::start((1280, 1000));
    browser.open(&format!("http://{}/", server.http));
    browser.until("document.querySelectorAll('#models input').length === 3");
    (server, browser)
}

fn pick(browser: &Browser, model: &str) {
    browser.run(
        &format!("document.querySelector('#models input[value={model}]').click()"),
        &[],
    );
    browser.until(&format!("document.querySelector('#name').textContent === '{model}'"));
}

/// Where pictures of the page are left for people to look at.
fn picture(name: &str) -> PathBuf {
    deps::repository().join("target/playground").join(name)
}

const IS_SEVEN: &str = "document.querySelector('#answer .labels b')?.textContent === 'seven' && \
    document.querySelector('#told').textContent.startsWith('seven')";

#[test]
fn a_picture_that_is_chosen_or_dropped_is_answered_with_its_times() {
    let (_server, browser) = serve(&["--max-batch-size", "8", "--max-queue-delay", "2ms"]);
    let seven = deps::fixture("photo/samples/seven.png");
    pick(&browser, "photo");
    browser.type_into("input[type=file]", seven.to_str().unwrap());
    browser.until(IS_SEVEN);
    let bars = || browser.run("return document.querySelectorAll('#plot g').length", &[]);
    assert_eq!(bars(), 1);
    pick(&browser, "digits");
    pick(&browser, "photo");
    let drop = "const bytes = Uint8Array.from(atob(arguments[0]), (letter) => letter.charCodeAt(0));\n\
        const data = new DataTransfer();\n\
        data.items.add(new File([bytes], 'seven.png', { type: 'image/png' }));\n\
        const event = new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true });\n\
        document.querySelector('.drop').dispatchEvent(event);\n\
        return event.defaultPrevented";
    let bytes = STANDARD.encode(std::fs::read(seven).unwrap());
    assert_eq!(browser.run(drop, &[bytes.into()]), true);
    browser.until(IS_SEVEN);
    assert_eq!(bars(), 2);
    browser.click("#burst");
    browser.until("document.querySelector('#told').textContent.startsWith('32 of 32 answered')");
    assert_eq!(bars(), 34);
    let example = browser.run("return document.querySelector('#example').textContent", &[]);
    assert!(
        example.as_str().unwrap().contains("--data-binary @'seven.png'"),
        "{example}"
    );
    // A picture of one colour would be a few kilobytes.
    assert!(browser.picture(&picture("light.png")).len() > 30_000);
    assert_eq!(browser.errors(), [""; 0]);
}

/// Tells whether the focus is where it can be seen: on the element, or on the label that stands for it.
const SEEN: &str = "const at = document.activeElement;\n\
    return [at, at.closest('label')].filter(Boolean).some((each) => getComputedStyle(each).outlineStyle !== 'none')";

/// Moves on with Tab until a selector matches where the focus is.
fn tab_to(browser: &Browser, selector: &str) {
    for _ in 0..30 {
        if browser.run(
            "return document.activeElement.matches(arguments[0])",
            &[selector.into()],
        ) == true
        {
            assert_eq!(browser.run(SEEN, &[]), true, "the focus on {selector} is not seen");
            return;
        }
        browser.press(&[TAB]);
    }
    panic!("Tab does not come to {selector}");
}

#[test]
fn the_keyboard_is_enough_and_everything_has_a_name() {
    let (_server, browser) = serve(&[]);
    browser.press(&[TAB]);
    tab_to(&browser, ".skip");
    tab_to(&browser, "#models input");
    // digits, photo, tiny-gpt2
    for _ in 0..2 {
        browser.press(&[DOWN]);
    }
    browser.until("document.querySelector('#name').textContent === 'tiny-gpt2'");
    tab_to(&browser, "#sources textarea");
    browser.press(&["h"]);
    browser.press(&["i"]);
    browser.press(&[CONTROL, ENTER]);
    browser.until("document.querySelector('#told').textContent.startsWith('The first piece came')");
    assert_eq!(
        browser.run("return document.querySelector('#answer .said span').textContent", &[]),
        "hi"
    );
    tab_to(&browser, "#tab-curl");
    browser.press(&[RIGHT]);
    browser.until("document.querySelector('#example').textContent.includes('requests.post')");
    for model in ["tiny-gpt2", "photo", "digits"] {
        pick(&browser, model);
        let controls = "button:not([hidden], details:not([open]) *), textarea, #sources input, #models input, select:not([hidden] *), summary";
        let names = browser.names(controls);
        assert!(
            names.len() > 6 && names.iter().all(|name| !name.trim().is_empty()),
            "{names:?}"
        );
    }
    assert_eq!(browser.errors(), [""; 0]);
}

/// Gives the elements whose text does not stand out from what is behind it: less than 4.5 to 1.
const FAINT: &str = "\n\
    const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);\n\
    const light = ([red, green, blue]) => [red, green, blue].map((each) => each / 255)\n\
      .map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4))\n\
      .reduce((sum, each, at) => sum + each * [0.2126, 0.7152, 0.0722][at], 0);\n\
    const behind = (at) => { const colour = numbers(getComputedStyle(at).backgroundColor);\n\
      return colour[3] === 0 && at.parentElement ? behind(at.parentElement) : colour; };\n\
    const has = (at) => [...at.childNodes].some((each) => each.nodeType === 3 && each.data.trim());\n\
    return [...document.querySelectorAll('body *')].filter((at) => at.checkVisibility() && has(at) && !at.closest(':disabled, svg'))\n\
      .map((at) => [light(numbers(getComputedStyle(at).color)), light(behind(at)), at])\n\
      .map(([one, other, at]) => [(Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05), at])\n\
      .filter(([contrast]) => contrast < 4.5).map(([contrast, at]) => `${at.outerHTML.slice(0, 80)} ${contrast}`)";

#[test]
fn light_dark_and_narrow_are_all_readable() {
    let (_server, browser) = serve(&[]);
    pick(&browser, "photo");
    browser.type_into(
        "input[type=file]",
        deps::fixture("photo/samples/seven.png").to_str().unwrap(),
    );
    browser.until(IS_SEVEN);
    let dark = json!("return getComputedStyle(document.documentElement).backgroundColor");
    let paper = |browser: &Browser| browser.run(dark.as_str().unwrap(), &[]);
    let light = paper(&browser);
    for scheme in ["light", "dark"] {
        browser.prefer(&[("prefers-color-scheme", scheme), ("prefers-reduced-motion", "reduce")]);
        assert_eq!(browser.run(FAINT, &[]), json!([]), "{scheme}");
    }
    assert_ne!(paper(&browser), light);
    browser.picture(&picture("dark.png"));
    let wide = browser.run(
        "document.body.style.width = '380px'; return document.documentElement.scrollWidth <= innerWidth",
        &[],
    );
    assert_eq!(wide, true);
    assert_eq!(browser.errors(), [""; 0]);
}

#[test]
fn what_the_server_says_is_shown_as_text_and_the_page_calls_nobody_else() {
    let (server, browser) = serve(&[]);
    pick(&browser, "digits");
    browser.until("document.querySelector('#value').value.startsWith('[')");
    let hostile = "<img src=x onerror=alert(1)>";
    let set = "const area = document.querySelector('#value'); area.value = arguments[0];\n\
        area.dispatchEvent(new Event('input', { bubbles: true })); document.querySelector('#run').click()";
    browser.run(set, &[json!({hostile: 1}).to_string().into()]);
    browser.until("document.querySelector('#told').textContent.includes('<img src=x')");
    assert_eq!(browser.run("return document.querySelectorAll('img').length", &[]), 0);
    assert_eq!(browser.errors().len(), 1, "the browser tells of the 400 alone");
    let leaves = "const done = [];\n\
        for (const to of ['http://127.0.0.1:1/', 'http://example.invalid/']) done.push(fetch(to).then(() => 'went', () => 'refused'));\n\
        try { const script = document.createElement('script'); script.textContent = 'window.ran = true';\n\
          document.body.append(script); } catch { /* Refused at once. */ }\n\
        return Promise.all(done).then((all) => [...all, String(window.ran)])";
    assert_eq!(browser.run(leaves, &[]), json!(["refused", "refused", "undefined"]));
    let errors = browser.errors();
    let refused = errors.iter().filter(|error| error.contains("Content Security Policy"));
    assert!(refused.count() >= 2, "{errors:?}");
    let head = server.get("/").head;
    for header in [
        "content-security-policy: default-src 'none'",
        "x-content-type-options: nosniff",
    ] {
        assert!(head.contains(header), "{head}");
    }
}
