export async function flowPage() {}
export async function flowsPage() {}
