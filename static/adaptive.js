// Pictures that fit the visitor, also where no client hints are sent: by Safari and Firefox never,
// by Chromium only for a secure page that is served with Accept-CH.
// A page needs <script src="/adaptive.js" defer></script> and, instead of src, data-src:
//   <img data-src="/images/?name=nasa.jpeg" alt="The Earth">
// A page that is served with Accept-CH says so: <script src="/adaptive.js" data-accept-ch defer>.
// Where hints are sent, the address then stays as it is; pictures of another origin take a
// Permissions-Policy for that.
{
  const network = navigator.connection || {};
  // The policy's classes that browsers have no word for, worst first: up to so many megabits a
  // second, as conf/policy.ini bounds them. Where yours has no such classes, there are none here.
  const narrow = [["slow-3g", 0.55], ["mid-3g", 1]];
  const [type] = (!/2g/.test(network.effectiveType) &&
    narrow.find(([, most]) => network.downlink <= most)) || [network.effectiveType];
  const known = {
    // CSS pixels. Without a viewport meta, a phone's page is wider than its screen: 980 of them.
    screen: Math.min(document.documentElement.clientWidth, window.screen.width),
    dpr: window.devicePixelRatio,
    bandwidth: network.saveData ? "save-data" : type,
  };
  const given = ({ searchParams }, name) =>
    searchParams.has(name) || (name === "screen" && searchParams.has("screensize"));
  const asks = document.querySelector("script[data-accept-ch]");
  const policy =
    asks && window.isSecureContext && navigator.userAgentData && document.featurePolicy;
  for (const img of document.querySelectorAll("img[data-src]")) {
    const url = new URL(img.dataset.src, document.baseURI);
    const hinted = policy && policy.allowsFeature("ch-viewport-width", url.origin);
    for (const [name, value] of Object.entries(hinted ? {} : known))
      if (value && !given(url, name)) url.search += `&${name}=${value}`;
    img.src = url.href;
  }
}
