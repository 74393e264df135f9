// Pictures that fit the visitor, also in browsers that send no client hints (Safari, Firefox).
// A page needs <script src="/adaptive.js" defer></script> and, instead of src, data-src:
//   <img data-src="/images/?name=nasa.jpeg" alt="The Earth">
// Where hints are sent, the address stays as it is, and caches can share it. That takes a secure
// page served with Accept-CH and, for pictures of another origin, a Permissions-Policy.
{
  const network = navigator.connection || {};
  const known = {
    screen: document.documentElement.clientWidth, // CSS pixels
    dpr: window.devicePixelRatio,
    bandwidth: network.saveData ? "save-data" : network.effectiveType,
  };
  const given = ({ searchParams }, name) =>
    searchParams.has(name) || (name === "screen" && searchParams.has("screensize"));
  const policy = window.isSecureContext && navigator.userAgentData && document.featurePolicy;
  for (const img of document.querySelectorAll("img[data-src]")) {
    const url = new URL(img.dataset.src, document.baseURI);
    const hinted = policy && policy.allowsFeature("ch-viewport-width", url.origin);
    for (const [name, value] of Object.entries(hinted ? {} : known))
      if (value && !given(url, name)) url.search += `&${name}=${value}`;
    img.src = url.href;
  }
}
