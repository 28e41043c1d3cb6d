export async function overviewPage() {}
